"""oneDNN: set before TensorFlow is imported, unless the user has said something; hinted at where it is too late."""

import os
import subprocess
import sys
import warnings

import keras
import pytest

from kzoo.core import onednn

SAY = "import os; print(os.environ.get('TF_ENABLE_ONEDNN_OPTS'))"


@pytest.mark.skipif(not onednn.is_x86(), reason="not an x86 processor")
@pytest.mark.parametrize(
    "given, program, expected",
    [
        (None, f"import kzoo; {SAY}", "1"),
        ("0", f"import kzoo; {SAY}", "0"),
        (None, f"import sys; sys.modules['tensorflow'] = sys; import kzoo; {SAY}", "None"),
    ],
)
def test_the_variable_is_set_if_the_user_has_said_nothing_and_it_is_not_too_late(given, program, expected):
    environment = {key: value for key, value in os.environ.items() if key != onednn.VARIABLE}
    environment |= {} if given is None else {onednn.VARIABLE: given}
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment)
    assert result.stdout.strip() == expected, result.stderr


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="about TensorFlow")
class TestHint:
    @pytest.fixture(autouse=True)
    def off(self, monkeypatch):
        """A processor on which TensorFlow leaves oneDNN off, and a user who has said nothing."""
        monkeypatch.delenv(onednn.VARIABLE, raising=False)
        monkeypatch.setattr(onednn, "is_x86", lambda: True)
        monkeypatch.setattr(onednn, "onednn_is_on", lambda: False)
        monkeypatch.setattr(onednn.tf.config, "list_physical_devices", lambda kind: [])
        onednn.hint_at_onednn.cache_clear()
        yield
        onednn.hint_at_onednn.cache_clear()

    def test_it_is_given_once(self):
        with pytest.warns(UserWarning, match="import kzoo before TensorFlow and Keras, or set TF_ENABLE_ONEDNN_OPTS=1"):
            onednn.hint_at_onednn()
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            onednn.hint_at_onednn()

    @pytest.mark.parametrize("attribute, value", [("is_x86", lambda: False), ("onednn_is_on", lambda: True)])
    def test_not_where_it_would_not_help(self, monkeypatch, attribute, value):
        monkeypatch.setattr(onednn, attribute, value)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            onednn.hint_at_onednn()

    def test_not_if_the_user_has_said_no(self, monkeypatch):
        monkeypatch.setenv(onednn.VARIABLE, "0")
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            onednn.hint_at_onednn()


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="about TensorFlow")
def test_tensorflow_says_whether_it_uses_onednn():
    assert onednn.onednn_is_on() in (True, False)
