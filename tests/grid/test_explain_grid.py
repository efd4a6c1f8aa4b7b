import pytest

from mmsoc_ray.config import load_grid
from mmsoc_ray.data import Post, open_storage, write_split
from mmsoc_ray.errors import ConfigurationError
from mmsoc_ray.grid import plan_grid
from mmsoc_ray.grid.explain import check_teacher, explaining_grid

OWN = "name: toxicity\nkind: classification\nprompt: Is it toxic?\nlabels: [toxic, civil]\n"


@pytest.fixture
def load(tmp_path):
    """Load a grid of three models over two datasets, with what a test changes in it."""

    def load(old="", new=""):
        (tmp_path / "toxicity.yaml").write_text(OWN)
        file = tmp_path / "grid.yaml"
        file.write_text(
            "name: g\ndata: d\ndatasets: {memes: {fit_split: learn}, news: }\n"
            "tasks:\n  humor: {max_new_tokens: 4, scored: true}\n  ocr:\n  toxicity: {file: toxicity.yaml}\n"
            "models:\n  majority:\n  smollm2-135m: {settings: [text_only]}\n".replace(old, new)
        )
        return load_grid(file)

    return load


def explaining(grid, **options):
    return explaining_grid(
        grid, **{"teacher": None, "tasks": None, "split": None, "max_new_tokens": 64, **options}
    )  # fmt: skip


def test_one_model_is_asked_about_the_labels_of_what_is_learnt(load):
    asking = explaining(load())
    assert list(asking.models) == ["smollm2-135m"]
    assert asking.models["smollm2-135m"].settings == ("explain",)
    assert {name: choice.split for name, choice in asking.datasets.items()} == {"memes": "learn", "news": "train"}
    assert {task: (choice.max_new_tokens, choice.scored) for task, choice in asking.tasks.items()} == {
        "humor": (64, False),
        "toxicity": (64, False),
    }
    assert asking.own_task("toxicity").labels == ("toxic", "civil")


def test_another_split_holds_for_all_datasets(load):
    assert {choice.split for choice in explaining(load(), split="dev").datasets.values()} == {"dev"}


@pytest.mark.parametrize(
    ("change", "options", "words"),
    [
        ((), {"tasks": ("ocr",)}, "--tasks ocr: it is ocr, and a text has no label to explain"),
        (
            ("  humor: {max_new_tokens: 4, scored: true}\n  ocr:\n  toxicity: {file: toxicity.yaml}", "  ocr:"),
            {},
            "ocr",
        ),
        (("  smollm2-135m: {settings: [text_only]}", "  random:"), {}, "models: 0 of the grid's models can explain"),
        (("  majority:", "  demo-llava:"), {}, "(demo-llava, smollm2-135m). Name the one to be asked: --teacher NAME."),
        ((), {"teacher": "majority"}, "--teacher majority: a baseline explains nothing. Allowed: smollm2-135m."),
    ],
)
def test_what_cannot_be_explained_is_refused(load, change, options, words):
    with pytest.raises(ConfigurationError) as refused:
        explaining(load(*change), **options)
    assert words in str(refused.value)


def test_explain_is_no_setting_of_a_grid(load):
    with pytest.raises(ConfigurationError, match="unknown setting 'explain'"):
        load("[text_only]", "[explain]")


def planned(load, folder, posts, tasks="humor"):
    data = open_storage(folder / "data")
    for name in ("memes", "news"):
        split = "learn" if name == "memes" else "train"
        write_split(data, name, split, [Post(f"{at}", name, split, **post) for at, post in enumerate(posts)])
    return plan_grid(explaining(load("  toxicity: {file: toxicity.yaml}\n", "")), data), data


def test_a_split_without_targets_is_refused_with_its_name(load, tmp_path):
    with pytest.raises(ConfigurationError, match=r"no .* has targets for 'humor' .datasets: memes/learn, news/train"):
        planned(load, tmp_path, [{"text": "a"}])
    with pytest.raises(ConfigurationError, match=r"datasets\.memes: 1 of 2 posts of the split learn have a target"):
        planned(load, tmp_path, [{"text": "a"}, {"text": "b", "targets": {"humor": ("humorous",)}}])


def test_a_teacher_that_sees_no_pictures_needs_posts_with_words(load, tmp_path):
    targets = {"humor": ("humorous",)}
    wordless = [{"image": b"picture", "text": " ", "targets": targets}] * 2
    with pytest.raises(ConfigurationError, match=r"smollm2-135m: it sees no pictures.*memes/learn has a text"):
        check_teacher(*planned(load, tmp_path / "wordless", wordless))
    check_teacher(*planned(load, tmp_path / "read", [*wordless, {"transcription": "words", "targets": targets}]))
