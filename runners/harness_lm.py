"""A model of the zoo as lm-evaluation-harness's own kind of language model."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from runners.harness_score import Scorer, Tell
from tasks.lm.tokenisers import Tokeniser

NEW_TOKENS = 256  # of a generated text, where a task does not say


def language_model(scorer: Scorer, tokeniser: Tokeniser, tell: Tell) -> Any:
    """An object that the harness evaluates; it needs the library `lm_eval`.

    tell: called with progress in words.
    """
    from lm_eval.api.model import TemplateLM

    class ZooLM(TemplateLM):
        @property
        def eot_token_id(self) -> int:
            return tokeniser.eos

        def tok_encode(
            self, string: str, add_special_tokens: bool | None = None, **kwargs: Any
        ) -> list[int]:
            return list(tokeniser.encode(string))

        def loglikelihood(
            self, requests: list[Any], disable_tqdm: bool = True
        ) -> list[tuple[float, bool]]:
            return super().loglikelihood(requests, disable_tqdm=True)

        def _loglikelihood_tokens(
            self, requests: Sequence[tuple[Any, list[int], list[int]]], **kwargs: Any
        ) -> list[tuple[float, bool]]:
            return scorer.score([(context, after) for _, context, after in requests], tell)

        def loglikelihood_rolling(self, requests: list[Any], **kwargs: Any) -> list[float]:
            texts: list[tuple[list[int], list[int]]] = [
                ([], self.tok_encode(request.args[0])) for request in requests
            ]
            return [nats for nats, _ in scorer.score(texts, tell)]

        def generate_until(self, requests: list[Any], **kwargs: Any) -> list[str]:
            found = []
            for request in requests:
                context, how = request.args
                ids = scorer.generate(self.tok_encode(context), new_tokens(how))
                found.append(until(tokeniser.decode(ids), how.get("until") or ()))
                tell(f"{len(found):,} of {len(requests):,} texts")
            return found

    return ZooLM()


def new_tokens(how: dict[str, Any]) -> int:
    """How many tokens a task asks for. Raises: ValueError for text that is drawn."""
    if how.get("do_sample") and how.get("temperature", 1.0):
        raise ValueError(
            "the task draws its texts (do_sample), and only the most likely text is generated"
            " here; set do_sample: false in its file"
        )
    return int(how.get("max_gen_toks") or how.get("max_new_tokens") or NEW_TOKENS)


def until(text: str, ends: str | Iterable[str]) -> str:
    """The text before the first of the ends."""
    for end in [ends] if isinstance(ends, str) else ends:
        text = text.split(end)[0] if end else text
    return text
