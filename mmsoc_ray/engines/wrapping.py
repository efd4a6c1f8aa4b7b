"""A checkpoint's own frame around a prompt: chat template or format string, with the post's text made harmless."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Literal

Style = Literal["plain", "parts", "inline"]
"""What a template is given: one string, a list of texts and pictures, or a list with one text and tokens inside it."""

_PROBE = "What is this?"


class PromptWrapper:
    """Puts a rendered prompt into the frame that a checkpoint was trained with, each picture in its place.

    A prompt comes in pieces, with a picture between each two: ``["", question]`` shows one picture before the question.
    A template that moves several pictures together is given their tokens inside the text instead.

    Post text is written by strangers. Where it spells a control token of the checkpoint (``<|im_end|>``, ``<image>``,
    ``</s>``), a space goes in after the token's first character, so that the tokenizer reads plain text; nothing else
    changes. ``control_tokens`` lets the engine check that the frame's own are the only ones left.

    Attributes:
        add_special_tokens: Whether the tokenizer still has to add its own special tokens to a wrapped prompt: a chat
            template that begins with the beginning-of-sequence token has done it already.
    """

    def __init__(self, template: str, tokenizer: Any, processor: Any | None = None) -> None:
        """Prepare the frame.

        Args:
            template: ``chat``, or a format string with ``{prompt}`` and, where pictures are shown, ``{image}``.
            tokenizer: The checkpoint's tokenizer.
            processor: The checkpoint's processor, or None where it sees no pictures.

        Raises:
            ValueError: The checkpoint has no chat template, or none that passes the prompt on; or the format string
                lacks ``{prompt}``.
        """
        self._tokenizer = tokenizer
        self._renderer: Any = processor if getattr(processor, "chat_template", None) else tokenizer
        self._image_token = _image_token(tokenizer, processor) if processor is not None else ""
        control = _control_tokens(tokenizer, processor)
        spellings = (re.escape(token) for token in sorted(control, key=_longest_first))
        self._control_pattern = re.compile("|".join(spellings) or "(?!)")
        readable = control - {tokenizer.unk_token}  # any rare character becomes the unknown token
        self._control_ids = frozenset(tokenizer.convert_tokens_to_ids(token) for token in readable)
        self._template = None if template == "chat" else template
        if self._template is not None and "{prompt}" not in self._template:
            raise ValueError(f"prompt_template {template!r} has no {{prompt}}: use 'chat' or a format string with it")
        self._styles: dict[bool, Style] = {}
        if self._template is None:
            for with_image in (False, True) if processor is not None else (False,):
                self._styles[with_image] = self._find_style(with_image)
        self._style_of_several: Style = "plain" if self._styles.get(True) == "plain" else self._find_order()
        framed = self.wrap([_PROBE])
        begins = bool(tokenizer.bos_token) and framed.startswith(tokenizer.bos_token)
        is_chat_without_processor = self._template is None and processor is None
        self.add_special_tokens = not (begins or is_chat_without_processor)

    def wrap(self, pieces: Sequence[str]) -> str:
        """Return the whole prompt as text; a picture stands in it as the checkpoint's picture token.

        Args:
            pieces: The prompt, cut where a picture stands.
        """
        return self._frame([self.harmless(piece) for piece in pieces])

    def harmless(self, text: str) -> str:
        """Return a text with a space in every control token that it spells."""
        return self._control_pattern.sub(_split_token, text)

    def control_tokens(self, text: str) -> int:
        """Count the control tokens that the tokenizer reads in a wrapped prompt, a picture being one."""
        return self.control_tokens_among(self.token_ids(text))

    def token_ids(self, text: str) -> list[int]:
        """Return the tokens of a wrapped prompt, a picture being one."""
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=self.add_special_tokens)
        return ids

    def control_tokens_among(self, token_ids: Sequence[int]) -> int:
        """Count the control tokens among those of a wrapped prompt."""
        return sum(token_id in self._control_ids for token_id in token_ids)

    def empty_frames(self, *, with_pictures: bool) -> dict[bool, int]:
        """Count the control tokens of a frame around nothing: without a picture, and with one where it can show one."""
        frames = {False: self.control_tokens(self.wrap(["a"]))}
        return frames | ({True: self.control_tokens(self.wrap(["", "a"]))} if with_pictures else {})

    def end_of_turn_id(self) -> int | None:
        """Return the id of the special token that the chat template puts after an answer, or None."""
        if self._template is not None:
            return None
        style, answer = self._styles[False], _PROBE[::-1]
        user = self._messages(style, [_PROBE])
        content: Any = answer if style == "plain" else [{"type": "text", "text": answer}]
        try:
            text = self._renderer.apply_chat_template(
                [*user, {"role": "assistant", "content": content}], tokenize=False, add_generation_prompt=False
            )
        except Exception:  # a template may refuse finished conversations; the checkpoint's own end token then serves
            return None
        tail = self._tokenizer.encode(text.rpartition(answer)[2], add_special_tokens=False)
        return tail[0] if tail and tail[0] in self._control_ids else None

    def _frame(self, pieces: Sequence[str]) -> str:
        if self._template is None:
            style = self._style_of_several if len(pieces) > 2 else self._styles[len(pieces) > 1]
            return self._render(style, pieces)
        first = pieces[:-1] == [""]  # the one place that a format string knows
        text = pieces[-1] if first else self._inline(pieces)
        return self._template.format(prompt=text, image=self._image_token if first else "")

    def _inline(self, pieces: Sequence[str]) -> str:
        return f"{self._image_token}\n".join(pieces)

    def _render(self, style: Style, pieces: Sequence[str]) -> str:
        messages = self._messages(style, pieces)
        return str(self._renderer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))

    def _messages(self, style: Style, pieces: Sequence[str]) -> list[dict[str, Any]]:
        if style == "plain":
            return [{"role": "user", "content": self._inline(pieces)}]
        texts = [self._inline(pieces)] if style == "inline" else pieces
        parts: list[dict[str, Any]] = []
        for number, text in enumerate(texts):
            parts += [{"type": "image"}] if number else []
            parts += [{"type": "text", "text": text}] if text else []
        return [{"role": "user", "content": parts}]

    def _find_order(self) -> Style:
        """Try whether the template leaves several pictures where they are; LLaVA-v1.5's puts them before all text."""
        if True not in self._styles:
            return "parts"
        texts = ("before", "between", "behind")
        try:
            rendered = self._render("parts", texts)
        except Exception:  # a template may refuse what it was not written for
            return "inline"
        at = [rendered.find(text) for text in texts]
        gaps = [rendered[at[i] + len(texts[i]) : at[i + 1]] for i in (0, 1)]
        return "parts" if -1 not in at and at == sorted(at) and all(gap.strip() for gap in gaps) else "inline"

    def _find_style(self, with_image: bool) -> Style:
        """Try how the template takes a message: processors' templates want a list of parts, tokenizers' a string."""
        styles: tuple[Style, ...] = ("parts", "plain") if self._image_token else ("plain", "parts")
        failures = []
        for style in styles:
            try:
                text = self._render(style, ["", _PROBE] if with_image else [_PROBE])
            except Exception as error:
                failures.append(f"{style}: {error}")
                continue
            # A template for strings prints a list of parts as Python does; some templates drop what they do not know.
            shows_picture = not with_image or text != self._render(style, [_PROBE])
            if text.count(_PROBE) == 1 and "'type'" not in text and shows_picture:
                return style
            failures.append(f"{style}: gave {text[:200]!r}")
        raise ValueError(
            f"the checkpoint's chat template cannot frame a prompt {'with' if with_image else 'without'} a picture "
            f"({'; '.join(failures)}): set the model's prompt_template to a format string with {{image}} and {{prompt}}"
        )


def _longest_first(token: str) -> tuple[int, str]:
    return -len(token), token


def _split_token(match: re.Match[str]) -> str:
    token = match.group()
    return f"{token[0]} {token[1:]}"


def _image_token(tokenizer: Any, processor: Any) -> str:
    for holder in (processor, tokenizer):
        token = getattr(holder, "image_token", None)
        if token:
            return str(token)
    return "<image>"


def _control_tokens(tokenizer: Any, processor: Any | None) -> set[str]:
    """Spellings that the tokenizer or the processor would not read as text.

    Added tokens that are not special count where they are bracketed like a control token; others are plain words or
    runs of spaces.
    """
    tokens = set(tokenizer.all_special_tokens)
    for added in tokenizer.added_tokens_decoder.values():
        spelling = str(added.content)
        if added.special or (spelling[:1] + spelling[-1:]) in ("<>", "[]"):
            tokens.add(spelling)
    for holder in (tokenizer, processor):
        for name in ("image_token", "video_token", "audio_token", "boi_token", "eoi_token", "fake_image_token"):
            token = getattr(holder, name, None)
            if token:
                tokens.add(str(token))
    return {token for token in tokens if token.strip()}
