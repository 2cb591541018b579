"""Trained models as Hugging Face models. Importing this registers them with transformers:

    import zoo.hf
    model = AutoModelForCausalLM.from_pretrained("a folder that lazoo lm has written")

No other part of the zoo needs transformers. Not supported: gradient checkpointing, inputs_embeds,
hidden states of single layers, attention maps.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from zoo.hf_state import ZooCache, rows_of, rows_read
from zoo.model import Model
from zoo.rebuild import MODEL_TYPE, arguments, rebuilt

try:
    from transformers import AutoConfig, AutoModelForCausalLM, GenerationMixin
    from transformers.configuration_utils import PretrainedConfig
    from transformers.modeling_outputs import CausalLMOutputWithPast
    from transformers.modeling_utils import PreTrainedModel
except ImportError as error:
    raise ImportError(
        "zoo.hf needs transformers; type: pip install 'linear-attention-zoo[lm]'. Without it,"
        " runners.trained.load reads the same folders, and lazoo generate uses them"
    ) from error


class ZooConfig(PretrainedConfig):
    """The arguments of zoo.model.Model under the names of zoo/rebuild.py, and `about`."""

    model_type = MODEL_TYPE
    vocab_size: int
    tie_word_embeddings: bool
    attribute_map = {"hidden_size": "d_model", "num_hidden_layers": "depth"}  # noqa: RUF012, theirs
    keys_to_ignore_at_inference = ["past_key_values"]  # noqa: RUF012, theirs

    def __init__(
        self,
        *,
        zoo_model: str = "metala",
        use_cache: bool = True,
        about: dict[str, Any] | None = None,
        **others: Any,
    ) -> None:
        """others: arguments of Model as a config.json writes them, and what transformers knows."""
        self.zoo_model, self.use_cache, self.about = zoo_model, use_cache, about or {}
        for name, default in arguments().items():
            setattr(self, name, others.pop(name, default))
        # Of which transformers 4 has a default of its own.
        others["tie_word_embeddings"] = self.tie_word_embeddings
        super().__init__(**others)


class ZooForCausalLM(PreTrainedModel, GenerationMixin):
    """zoo.model.Model as transformers calls a causal language model; the logits are the same bits.

    Tied weights are one parameter, which is stored once.
    """

    config: ZooConfig
    config_class = ZooConfig
    base_model_prefix = "model"
    supports_gradient_checkpointing = False
    _is_stateful = True  # a state cannot be cut back, which assisted generation would need
    _tied_weights_keys: dict[str, str] = {}  # noqa: RUF012, theirs

    def __init__(self, config: ZooConfig) -> None:
        super().__init__(config)
        self.model = rebuilt(config.to_dict())
        # from_pretrained builds the Model without memory, and then puts the weights into it.
        self._has_values = not self.model.embedding.weight.is_meta
        self._is_complete = self._has_values
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        """Nothing where the Model has drawn its weights; else what no file has: see `complete`."""
        if self._has_values:
            return
        for name, x in module.named_parameters(recurse=False):
            if not getattr(x, "_is_hf_initialized", False):
                path = next(path for path, m in self.named_modules() if m is module)
                raise ValueError(f"model.safetensors lacks {path}.{name}, or has another shape")
        if not self._is_complete:
            complete(self.model, self.config)
            self._is_complete = True

    @classmethod
    def _supports_default_dynamic_cache(cls) -> bool:
        """The first forward pass makes the cache."""
        return False

    def get_input_embeddings(self) -> nn.Module:
        return self.model.embedding

    def set_input_embeddings(self, value: nn.Module) -> None:
        self.model.embedding = value  # pyright: ignore[reportAttributeAccessIssue]

    def get_output_embeddings(self) -> nn.Module | None:
        return self.model.unembedding

    def set_output_embeddings(self, new_embeddings: nn.Module) -> None:
        self.model.unembedding = new_embeddings  # pyright: ignore[reportAttributeAccessIssue]

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        labels: Tensor | None = None,
        past_key_values: ZooCache | None = None,
        use_cache: bool | None = None,
        logits_to_keep: int | Tensor = 0,
        return_dict: bool | None = None,
        **others: Any,
    ) -> CausalLMOutputWithPast | tuple[Tensor, ...]:
        """input_ids: b t. attention_mask: b t, 1 for tokens and 0 for pads, at either end of a row.

        A row's logits are those of the row without its pads; at pads they mean nothing. labels: b
        t, not shifted, -100 where there is none. past_key_values: what the last call returned.
        """
        check_others(others)
        if past_key_values is None or not past_key_values.rows:
            rows = rows_of(self.model, input_ids, attention_mask)
        else:
            rows = past_key_values.rows
        padded_behind = any(row.behind for row in rows)
        if use_cache and padded_behind:
            raise ValueError(
                "there are pads behind a prompt, after which nothing can be generated; pad on the"
                " left: tokenizer.padding_side = 'left'"
            )
        hidden, rows = rows_read(self.model, input_ids, rows)
        if isinstance(logits_to_keep, int):
            logits = self.model.head(hidden[:, -logits_to_keep or None :])
        else:
            logits = self.model.head(hidden[:, logits_to_keep])
        loss = None
        if labels is not None:
            loss = self.loss_function(logits, labels, self.config.vocab_size, **others)
        cache = None
        if self._keeps(use_cache) and not padded_behind:
            cache = past_key_values or ZooCache()
            cache.rows, cache.columns = rows, cache.columns + input_ids.shape[1]
        if return_dict is False:
            return tuple(x for x in (loss, logits, cache) if x is not None)  # pyright: ignore
        return CausalLMOutputWithPast(loss=loss, logits=logits, past_key_values=cache)  # pyright: ignore

    def _keeps(self, use_cache: bool | None) -> bool:
        return self.config.use_cache and not self.training if use_cache is None else use_cache


def complete(model: Model, config: ZooConfig) -> None:
    """Puts the values of tensors that follow from the config alone into a Model built without."""
    with torch.random.fork_rng(devices=[]), torch.device("cpu"):
        fresh = rebuilt(config.to_dict())
    for path, module in model.named_modules():
        for name in module._non_persistent_buffers_set:
            old, new = module._buffers[name], fresh.get_submodule(path)._buffers[name]
            if old is not None and new is not None:
                # Of its own dtype: decays and angles stay precise in a model of bfloat16.
                module._buffers[name] = new.to(old.device)


def check_others(others: dict[str, Any]) -> None:
    """Raises: ValueError for what transformers' models may be asked for and these cannot give."""
    for name in ("inputs_embeds", "output_hidden_states", "output_attentions", "position_ids"):
        if others.get(name) is not None and others[name] is not False:
            raise ValueError(f"{name} is not supported by the models of the zoo; leave it out")


AutoConfig.register(MODEL_TYPE, ZooConfig, exist_ok=True)
AutoModelForCausalLM.register(ZooConfig, ZooForCausalLM, exist_ok=True)
