"""What every engine that holds weights refuses of a request, in the same words: nothing is cut silently."""

from __future__ import annotations

from collections.abc import Mapping

from mmsoc_ray.engines.protocol import PromptError, Request
from mmsoc_ray.engines.wrapping import PromptWrapper


def framed(
    request: Request, wrapper: PromptWrapper, control_tokens: Mapping[bool, int], *, has_picture: bool, model: str
) -> tuple[str, list[int]]:
    """Return a request's prompt in a checkpoint's frame, as text and as tokens, a picture being one.

    Args:
        request: The request.
        wrapper: The frame.
        control_tokens: Control tokens of an empty frame, without (False) and, where it can show one, with a picture.
        has_picture: Whether the post has a picture.
        model: Name of the model, for errors.

    Raises:
        PromptError: The post's text became a control token, or a picture got no place.
        ValueError: The request shows a picture that is not there, or that the model cannot see.
    """
    if request.with_image and True not in control_tokens:
        raise ValueError(f"model {model!r} sees no pictures, but the request shows one")
    if request.with_image and not has_picture:
        raise ValueError("the request shows a picture, but the post has none")
    text = wrapper.wrap(request.pieces)
    pictures = 1 + len(request.example_pictures) if request.with_image else 0
    expected = control_tokens[False]
    if pictures:
        expected += pictures * (control_tokens[True] - control_tokens[False])
    token_ids = wrapper.token_ids(text)
    found = wrapper.control_tokens_among(token_ids)
    if found != expected:
        raise PromptError(
            f"the prompt holds {found} control tokens where the model's frame has {expected}: "
            "the post's text spells one in a way that could not be made harmless"
        )
    return text, token_ids


def check_length(prompt_tokens: int, max_new_tokens: int, context: int | None, example_pictures: int = 0) -> None:
    """Refuse a prompt that does not fit.

    Args:
        prompt_tokens: Length of the whole prompt.
        max_new_tokens: Limit of its answer; 0 where the answer stands apart.
        context: Prompt and answer together cannot be longer; None where that is not known.
        example_pictures: So many of the prompt's pictures are examples'.

    Raises:
        PromptError: Prompt and answer are together longer than the context.
    """
    asked = prompt_tokens + max_new_tokens
    if context is not None and asked > context:
        raise PromptError(
            f"the prompt has {prompt_tokens} tokens and its answer up to {max_new_tokens}, together "
            f"{asked}: more than the context of {context} tokens"
            + (f"; {example_pictures} example pictures are part of it, so take fewer" if example_pictures else "")
        )
