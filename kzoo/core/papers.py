"""Papers and their citations: author-year in running text, BibTeX for a bibliography."""

import re
from typing import NamedTuple

CONFERENCES = {
    "AAAI": "AAAI Conference on Artificial Intelligence (AAAI)",
    "ACL": "Annual Meeting of the Association for Computational Linguistics (ACL)",
    "BMVC": "British Machine Vision Conference (BMVC)",
    "CVPR": "Conference on Computer Vision and Pattern Recognition (CVPR)",
    "CVPRW": "Conference on Computer Vision and Pattern Recognition Workshops (CVPRW)",
    "DLMIA": "Workshop on Deep Learning in Medical Image Analysis (DLMIA)",
    "DSAA": "International Conference on Data Science and Advanced Analytics (DSAA)",
    "EACL": "Conference of the European Chapter of the Association for Computational Linguistics (EACL)",
    "ECCV": "European Conference on Computer Vision (ECCV)",
    "EMNLP": "Conference on Empirical Methods in Natural Language Processing (EMNLP)",
    "ICANN": "International Conference on Artificial Neural Networks (ICANN)",
    "ICASSP": "International Conference on Acoustics, Speech and Signal Processing (ICASSP)",
    "ICCV": "International Conference on Computer Vision (ICCV)",
    "ICDMW": "International Conference on Data Mining Workshops (ICDMW)",
    "ICLR": "International Conference on Learning Representations (ICLR)",
    "ICML": "International Conference on Machine Learning (ICML)",
    "IJCNN": "International Joint Conference on Neural Networks (IJCNN)",
    "IEEE BigData": "IEEE International Conference on Big Data",
    "Interspeech": "Interspeech",
    "KDD": "Conference on Knowledge Discovery and Data Mining (KDD)",
    "MICCAI": "International Conference on Medical Image Computing and Computer-Assisted Intervention (MICCAI)",
    "NER": "International IEEE/EMBS Conference on Neural Engineering (NER)",
    "NeurIPS": "Advances in Neural Information Processing Systems (NeurIPS)",
    "NeurIPS Datasets and Benchmarks": "NeurIPS Track on Datasets and Benchmarks",
    "SLT": "Spoken Language Technology Workshop (SLT)",
    "VCIP": "Visual Communications and Image Processing Conference (VCIP)",
}
JOURNALS = {
    "Biomedical Signal Processing and Control": "Biomedical Signal Processing and Control",
    "Data Mining and Knowledge Discovery": "Data Mining and Knowledge Discovery",
    "Human Brain Mapping": "Human Brain Mapping",
    "IEEE TASSP": "IEEE Transactions on Acoustics, Speech, and Signal Processing",
    "IEEE TIP": "IEEE Transactions on Image Processing",
    "IEEE TPAMI": "IEEE Transactions on Pattern Analysis and Machine Intelligence",
    "IEEE Transactions on Information Theory": "IEEE Transactions on Information Theory",
    "Journal of Documentation": "Journal of Documentation",
    "Journal of Neural Engineering": "Journal of Neural Engineering",
    "Journal of Systems Engineering and Electronics": "Journal of Systems Engineering and Electronics",
    "Mathematics": "Mathematics",
    "Nature Communications": "Nature Communications",
    "Neurocomputing": "Neurocomputing",
    "Pattern Recognition": "Pattern Recognition",
    "Proceedings of the IEEE": "Proceedings of the IEEE",
    "Soft Computing": "Soft Computing",
    "TASLP": "IEEE/ACM Transactions on Audio, Speech, and Language Processing",
    "TASSP": "IEEE Transactions on Acoustics, Speech, and Signal Processing",
    "TNSRE": "IEEE Transactions on Neural Systems and Rehabilitation Engineering",
    "TPAMI": "IEEE Transactions on Pattern Analysis and Machine Intelligence",
}
TITLE_STOP_WORDS = {"a", "an", "and", "the", "on", "of", "in", "for", "to", "from"}
SPECIAL = str.maketrans({"%": r"\%", "&": r"\&", "#": r"\#", "_": r"\_", "<": "$<$"})


class Paper(NamedTuple):
    """A publication.

    Attributes:
        authors: in BibTeX's form, `"He, Kaiming and Zhang, Xiangyu"`; `"and others"` at the end of a longer list.
        year: of the publication at `venue`; of the preprint where there is none.
        title: as published.
        url: of the text; an arXiv number or DOI in it goes into the BibTeX entry.
        venue: a key of `CONFERENCES` or `JOURNALS`, another publisher such as a blog, or "" for a preprint.
    """

    authors: str
    year: int
    title: str
    url: str
    venue: str = ""

    @property
    def family_names(self) -> list[str]:
        """Family names of the authors that are listed."""
        return [name.partition(",")[0] for name in self.authors.split(" and ") if name != "others"]

    @property
    def author_names(self) -> str:
        """Authors with their given names first: `"Kaiming He, Xiangyu Zhang"`."""
        parts = (name.partition(", ") for name in self.authors.split(" and "))
        return ", ".join(f"{given} {family}".strip() for family, _, given in parts).replace(", others", " et al.")

    @property
    def citation(self) -> str:
        """Author-year citation: `"Chollet, 2017"`, `"Tan and Le, 2019"` or `"He et al., 2016"`."""
        names = self.family_names
        many = len(names) > 2 or self.authors.endswith(" and others")
        return f"{names[0]} et al., {self.year}" if many else f"{' and '.join(names)}, {self.year}"

    @property
    def publication(self) -> str:
        """Full name of the conference, journal or publisher; "arXiv" for a preprint there, else ""."""
        return (CONFERENCES | JOURNALS).get(self.venue, self.venue) or ("arXiv" if self.arxiv else "")

    @property
    def arxiv(self) -> str:
        """Number of the arXiv entry at `url`, or ""."""
        return self.url.removeprefix("https://arxiv.org/abs/") if "arxiv.org/abs/" in self.url else ""

    @property
    def key(self) -> str:
        """Citation key: first family name, year and first significant word of the title, `"he2016deep"`."""
        words = [word for word in re.findall(r"\w+", self.title.lower()) if word not in TITLE_STOP_WORDS]
        return re.sub(r"[\W_]", "", self.family_names[0].lower()) + f"{self.year}{words[0]}"

    def bibtex(self) -> str:
        """Return a BibTeX entry: @inproceedings, @article, or @misc for preprints and websites."""
        kind, venue = self._entry()
        fields = {"title": f"{{{self.title.translate(SPECIAL)}}}", "author": self.authors} | venue
        fields["year"] = self.year
        if self.arxiv:
            fields |= {"eprint": self.arxiv, "archivePrefix": "arXiv"}
        if "doi.org/" in self.url:
            fields["doi"] = self.url.partition("doi.org/")[2]
        fields["url"] = self.url
        body = "".join(f"  {name} = {{{value}}},\n" for name, value in fields.items())
        return f"@{kind}{{{self.key},\n{body}}}"

    def _entry(self) -> tuple[str, dict[str, str]]:
        """Return the type of the BibTeX entry and the field that names the venue."""
        if self.venue in CONFERENCES:
            return "inproceedings", {"booktitle": CONFERENCES[self.venue]}
        if self.venue in JOURNALS:
            return "article", {"journal": JOURNALS[self.venue]}
        return "misc", {"howpublished": self.venue} if self.venue else {}
