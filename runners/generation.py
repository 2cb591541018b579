"""Text from a model: the prompt in one parallel pass, then token by token from its state."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from zoo.decoding import kept_bytes, read
from zoo.model import Model, ModelState


class Generation(Iterator[int]):
    """Token ids, one after the other. `state`: after every token that was read so far.

    The last token that was given is not read before the next one is asked for.
    """

    def __init__(
        self,
        model: Model,
        ids: Sequence[int],
        *,
        tokens: int,
        choose: Choice,
        state: ModelState | None,
        stop: int | None,
    ) -> None:
        self.model, self.state, self.choose, self.stop = model, state, choose, stop
        self.left, self.unread = tokens, list(ids)

    def __next__(self) -> int:
        if self.left <= 0:
            raise StopIteration
        self.left -= 1
        chosen = self.choose(self._next_logits())
        self.unread = [chosen]
        if chosen == self.stop:
            self.left = 0
        return chosen

    @property
    def state_bytes(self) -> int:
        return kept_bytes(self.state)

    def _next_logits(self) -> Tensor:
        """vocabulary, after all that is unread."""
        model = self.model
        tokens = torch.tensor([self.unread], device=model.embedding.weight.device)  # 1 t
        training = model.training
        if training:
            model.eval()
        try:
            with torch.inference_mode():
                hidden, self.state = read(model, tokens, self.state)
                return model.head(hidden[:, -1])[0]
        finally:
            if training:
                model.train()


class Choice:
    """The next token: the most likely one with temperature 0, else drawn.

    Draws are made on the CPU in float64, so that a seed means the same on every device.
    """

    def __init__(self, temperature: float, top_p: float, top_k: int, seed: int) -> None:
        check_choice(temperature, top_p, top_k)
        self.temperature, self.top_p, self.top_k = temperature, top_p, top_k
        self.generator = torch.Generator().manual_seed(seed)

    def __call__(self, logits: Tensor) -> int:
        """logits: vocabulary."""
        if not self.temperature:
            return int(logits.argmax())
        logits = logits.detach().cpu().double() / self.temperature
        if not logits.isfinite().all():
            raise ValueError("the model's logits are not finite; its weights are of no use")
        logits, ids = logits.sort(descending=True, stable=True)
        probabilities = logits[: self.top_k or None].softmax(-1)
        # All that have less than top_p before them: the first one always.
        before = probabilities.cumsum(-1) - probabilities
        probabilities = probabilities.where(before < self.top_p, 0.0)
        return int(ids[probabilities.multinomial(1, generator=self.generator)])


def generate(
    model: Model,
    ids: Sequence[int],
    *,
    tokens: int,
    temperature: float = 0.0,
    top_p: float = 1.0,
    top_k: int = 0,
    seed: int = 0,
    state: ModelState | None = None,
    stop: int | None = None,
) -> Generation:
    """An iterator of at most `tokens` ids that follow `ids`, which is at least one id.

    temperature: 0 takes the most likely token, 1 draws as the model says. top_p: the most likely
    tokens that together have this share; top_k: so many of them, 0 for all. state: what was read
    before `ids`. stop: the id after which nothing follows; it is the last one given.
    Raises: ValueError for what cannot be generated.
    """
    check_ids(model, ids)
    if tokens < 0:
        raise ValueError(f"tokens {tokens} is negative; type tokens 0 or more")
    check_length(model, len(ids) + (state["position"] if state else 0), tokens)
    choose = Choice(temperature, top_p, top_k, seed)
    return Generation(model, ids, tokens=tokens, choose=choose, state=state, stop=stop)


def check_ids(model: Model, ids: Sequence[int]) -> None:
    if not len(ids):
        raise ValueError("there is no token to start from; give the end-of-text token")
    known = model.embedding.num_embeddings
    wrong = [id for id in ids if not 0 <= id < known]
    if wrong:
        raise ValueError(f"token {wrong[0]} is not one of the model's {known}: 0 to {known - 1}")


def check_length(model: Model, read: int, tokens: int) -> None:
    """Learned positions end. The last token given is never read."""
    if model.position is None or not tokens:
        return
    longest = model.position.num_embeddings
    if read + tokens - 1 > longest:
        fit = longest + 1 - read
        what = f"type tokens {fit} or less" if fit > 0 else "give a shorter prompt"
        raise ValueError(
            f"{read} tokens and {tokens} more need {read + tokens - 1} positions, but"
            f" {longest} were learned; {what}"
        )


def check_choice(temperature: float, top_p: float, top_k: int) -> None:
    if not 0 <= temperature < float("inf"):
        raise ValueError(
            f"temperature {temperature:g} is not a number from 0; type temperature 0 for the most"
            " likely tokens, 1 for draws as the model says"
        )
    if not 0 < top_p <= 1:
        raise ValueError(f"top_p {top_p:g} is not in (0, 1]; type top_p 1 for all tokens")
    if top_k < 0:
        raise ValueError(f"top_k {top_k} is negative; type top_k 0 for all tokens")
