"""Equal to NVIDIA NeMo, torchaudio and icefall at each frame: random weights carried over, outputs compared.

None of them can be installed beside the rest, so their layers are written here, with their names of tensors.
"""

import numpy as np
import pytest
from torch_networks import double_precision, randomise

import kzoo

torch = pytest.importorskip("torch")
nn = torch.nn

pytestmark = pytest.mark.parity

TOLERANCE = 1e-5  # of the outputs' standard deviation


class Masked(nn.Module):
    """A convolution inside a module, as NeMo's that masks padding."""

    def __init__(self, *sizes, kernel, stride=1, dilation=1, groups=1):
        super().__init__()
        border = dilation * (kernel - 1) // 2
        self.conv = nn.Conv1d(*sizes, kernel, stride, border, dilation, groups, bias=False)

    def forward(self, x):
        return self.conv(x)


class Gate(nn.Module):
    """Squeeze-and-excitation over the whole signal."""

    def __init__(self, channels):
        super().__init__()
        hidden = channels // 8
        self.fc = nn.Sequential(
            nn.Linear(channels, hidden, bias=False), nn.ReLU(), nn.Linear(hidden, channels, bias=False)
        )

    def forward(self, x):
        return x * torch.sigmoid(self.fc(x.mean(-1)))[..., None]


def norm(channels):
    return nn.BatchNorm1d(channels, eps=1e-3)


class Block(nn.Module):
    """A row of NeMo's configuration: repeated layers, then the sum with projections of earlier inputs."""

    def __init__(self, wide, filters, kernel, repeats=1, panes=(), *, separable=True, se=False, stride=1, dilation=1):
        super().__init__()
        layers = []
        for number in range(repeats):
            options = {"kernel": kernel, "stride": stride if number == repeats - 1 else 1, "dilation": dilation}
            if separable:
                layers += [Masked(wide, wide, groups=wide, **options), Masked(wide, filters, kernel=1)]
            else:
                layers += [Masked(wide, filters, **options)]
            layers += [norm(filters), nn.ReLU(), nn.Dropout(0)]
            wide = filters
        self.mconv = nn.ModuleList(layers[:-2] + [Gate(filters)] * se)
        projections = [nn.ModuleList([Masked(pane, filters, kernel=1, stride=stride), norm(filters)]) for pane in panes]
        self.res = nn.ModuleList(projections)

    def forward(self, inputs):
        x = inputs[-1]
        for layer in self.mconv:
            x = layer(x)
        for (projection, normalised), earlier in zip(self.res, inputs[-len(self.res) :], strict=False):
            x = x + normalised(projection(earlier))
        return torch.relu(x)


class Nemo(nn.Module):
    def __init__(self, blocks, width, outputs, *, dense=False):
        super().__init__()
        self.encoder = nn.ModuleDict({"encoder": nn.ModuleList(blocks)})
        self.decoder = nn.ModuleDict({"decoder_layers": nn.ModuleList([nn.Conv1d(width, outputs, 1)])})
        self.dense = dense

    def forward(self, x):
        inputs = [x]
        for block in self.encoder["encoder"]:
            y = block(inputs)
            inputs = [*inputs, y] if self.dense and len(block.res) else [y]
        return self.decoder["decoder_layers"][0](y)


def quartznet():
    stages = [(256, 256, 33), (256, 256, 39), (256, 512, 51), (512, 512, 63), (512, 512, 75)]
    blocks = [Block(wide, filters, kernel, 5, [wide]) for wide, filters, kernel in stages]
    ends = [Block(512, 512, 87, dilation=2), Block(512, 1024, 1, separable=False)]
    return Nemo([Block(64, 256, 33, stride=2), *blocks, *ends], 1024, 29)


def citrinet():
    kernels = [range(11, 22, 2), range(13, 26, 2), range(25, 40, 2)]
    strided = [(kernel, 1 + (kernel == part[0])) for part in kernels for kernel in part]
    blocks = [Block(384, 384, kernel, 5, [384], se=True, stride=stride) for kernel, stride in strided]
    return Nemo([Block(80, 384, 5, se=True), *blocks, Block(384, 640, 41, se=True)], 640, 1025)


def jasper():
    """Of a quarter of the width: the published network has 333 million weights."""
    rows = [(64, 11), (64, 11), (96, 13), (96, 13), (128, 17), (128, 17), (160, 21), (160, 21), (192, 25), (192, 25)]
    panes, blocks = [64], []
    for filters, kernel in rows:
        blocks.append(Block(panes[-1], filters, kernel, 5, panes, separable=False))
        panes = [*panes, filters]
    first = Block(64, 64, 11, separable=False, stride=2)
    ends = [Block(192, 224, 29, separable=False, dilation=2), Block(224, 256, 1, separable=False)]
    return Nemo([first, *blocks, *ends], 256, 29, dense=True)


class Icefall(nn.Module):
    """The network of the yesno recipe."""

    def __init__(self):
        super().__init__()
        layers = []
        for wide, kernel, dilation in ((23, 3, 1), (32, 5, 2), (32, 5, 4)):
            convolution = nn.Conv1d(wide, 32, kernel, dilation=dilation)
            layers += [convolution, nn.ReLU(), nn.BatchNorm1d(32, affine=False)]
        self.tdnn, self.output_linear = nn.Sequential(*layers), nn.Linear(32, 4)

    def forward(self, x):
        return self.output_linear(self.tdnn(x).permute(0, 2, 1)).permute(0, 2, 1)


class Wav2Letter(nn.Module):
    """torchaudio's, without the ReLU and the logarithm of probabilities after its last layer."""

    def __init__(self, features, *, waveform):
        super().__init__()
        rows = [(250, 48, 2, 23), *[(250, 7, 1, 3)] * 7, (2000, 32, 1, 16), (2000, 1, 1, 0), (29, 1, 1, 0)]
        self.acoustic_model = self.sequence(250 if waveform else features, rows)
        if waveform:
            self.acoustic_model = nn.Sequential(self.sequence(1, [(250, 250, 160, 45)]), self.acoustic_model)

    def sequence(self, wide, rows):
        layers = []
        for filters, kernel, stride, border in rows:
            layers += [nn.Conv1d(wide, filters, kernel, stride, border), nn.ReLU()]
            wide = filters
        return nn.Sequential(*(layers[:-1] if wide == 29 else layers))

    def forward(self, x):
        return self.acoustic_model(x)


NETWORKS = {
    "quartznet_5x5": (quartznet, {}),
    "citrinet_384": (citrinet, {}),
    "jasper_10x5": (
        jasper,
        {
            "filters": (64, 64, 96, 96, 128, 128, 160, 160, 192, 192),
            "stem_width": 64,
            "tail_widths": (224, 256),
        },
    ),
    "tdnn_ctc": (Icefall, {}),
    "wav2letter": (lambda: Wav2Letter(13, waveform=False), {}),
    "wav2letter_waveform": (lambda: Wav2Letter(1, waveform=True), {}),
}


def randomised(network, signals):
    """Return a network in inference mode, no weight at a default that would hide a mistake, statistics of signals."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d):
            module.momentum = 1.0
    randomise(network)
    with torch.no_grad():
        network.train()(signals)
    return network.eval()


@pytest.mark.parametrize("odd", [0, 1])
@pytest.mark.parametrize("name", NETWORKS)
def test_frames_equal_those_of_the_reference(name, odd):
    """In float64: in float32, rounding alone changes the outputs of Citrinet by 2 % in PyTorch."""
    build, options = NETWORKS[name]
    (length, channels), outputs, _ = kzoo.model_card(name).reference
    length = length if channels == 1 else 200
    torch.manual_seed(1)
    signals = torch.randn(2, length + odd, channels) * torch.tensor([0.5, 2.0]).reshape(2, 1, 1)
    network = randomised(build(), signals.permute(0, 2, 1))
    tensors = {key: tensor.numpy() for key, tensor in network.state_dict().items() if "num_batches" not in key}
    with double_precision():
        model = kzoo.create_model(name, (length + odd, channels), outputs, head="frames", **options)
        report = kzoo.load_weights(model, tensors)
        values = np.asarray(model(signals.double().numpy(), training=False))
    assert not report.adapted
    with torch.inference_mode():
        expected = network.double()(signals.double().permute(0, 2, 1)).permute(0, 2, 1).numpy()
    assert values.shape == expected.shape
    assert np.abs(expected[1] - expected[0]).mean() > 0.03 * expected.std()  # not blind to the signal
    assert np.abs(values - expected).max() < TOLERANCE * expected.std()
