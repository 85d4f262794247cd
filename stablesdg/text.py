"""Token embedding, eq. (3): tau(y) with learned vectors v_d in the place of a token.

    y     the prompt, "A photo of <unknown>"
    v_d   (n, C)  the embeddings of the n tokens that <unknown> consists of (3 in SD v1.5)
    tau   CLIP's text encoder: prompt -> context (length, C)

A learned token may be any piece of the prompt. Its vectors live beside the embedding table, which never changes.
"""
import re
from collections.abc import Iterable

import torch
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTokenizer

from .storage.errors import UserError


class TextEncoder(nn.Module):
    """Prompts to contexts."""

    def __init__(self, tokenizer: CLIPTokenizer, model: CLIPTextModel) -> None:
        super().__init__()
        self.tokenizer = tokenizer
        self.model = model
        self.vectors = nn.ParameterDict()  # token -> v_d (n, C); keys as _key writes them
        self.length = min(tokenizer.model_max_length, model.config.max_position_embeddings)
        # transformers looks token numbers up deep inside. A hook then puts v_d in the place of what was found. For the
        # hook, encode notes which row of all v_d each position takes, -1 for none.
        self._rows: Tensor | None = None  # (B, length)
        model.get_input_embeddings().register_forward_hook(self._substitute)

    @property
    def table(self) -> Tensor:
        """The embedding table (vocabulary, C), which never changes."""
        return self.model.get_input_embeddings().get_parameter("weight")

    def ids(self, text: str) -> list[int]:
        """The token numbers of a piece of text, without start and end."""
        return self.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]

    def pretrained_vectors(self, token: str) -> Tensor:
        """The rows (n, C) of the embedding table for `token`: its vectors before any learning."""
        return self.table[torch.tensor(self.ids(token), device=self.table.device)].detach().clone()

    def set_vectors(self, token: str, v_d: Tensor) -> nn.Parameter:
        """Put v_d (n, C) in the place of `token` from now on. Returns the Parameter."""
        if v_d.ndim != 2 or v_d.shape[1] != self.table.shape[1]:
            raise UserError(f"The embedding of {token} has shape {tuple(v_d.shape)}, but this text encoder takes "
                            f"(n, {self.table.shape[1]}): use it with the weights it was trained on.")
        parameter = nn.Parameter(v_d.to(self.table.device, self.table.dtype).contiguous())
        self.vectors[_key(token)] = parameter
        return parameter

    def encode(self, prompts: list[str]) -> Tensor:
        """B prompts -> context (B, length, C): the last hidden layer after the final norm, padding included.

        Raises UserError if a prompt is so long that a learned token would be cut off.
        """
        ids, rows = zip(*(self._tokenize(prompt) for prompt in prompts))
        self._rows = torch.tensor(rows, device=self.table.device)
        try:
            return self.model(input_ids=torch.tensor(ids, device=self.table.device)).last_hidden_state
        finally:
            self._rows = None

    def _tokenize(self, prompt: str) -> tuple[list[int], list[int]]:
        """(token numbers, rows of v_d), `length` of each: start, the prompt cut to length - 2, end, end .. end."""
        first_row, total = {}, 0  # of each learned token among all learned vectors
        for key, v_d in self.vectors.items():
            first_row[_token(key)] = total
            total += len(v_d)
        ids: list = []
        rows: list[int] = []
        for piece in split_at_tokens(prompt, first_row):
            if piece.lower() in first_row:
                n = len(self.vectors[_key(piece)])
                ids += [self.tokenizer.eos_token_id] * n  # any number will do: the hook replaces what is looked up
                rows += range(first_row[piece.lower()], first_row[piece.lower()] + n)
            else:
                ids += self.ids(piece)
                rows += [-1] * (len(ids) - len(rows))
        room = self.length - 2
        if any(row >= 0 for row in rows[room:]):
            raise UserError(f"This text encoder reads only {room} of the {len(ids)} tokens of the prompt {prompt!r}, "
                            "and the learned token comes later: shorten the prompt, or say the learned token earlier.")
        end = self.length - 1 - len(ids[:room])
        ids = [self.tokenizer.bos_token_id] + ids[:room] + [self.tokenizer.eos_token_id] * end
        return ids, [-1] + rows[:room] + [-1] * end

    def _substitute(self, module: nn.Module, inputs: tuple[Tensor, ...], embedded: Tensor) -> Tensor:
        """Put learned vectors into embedded (B, length, C), after the table was looked up."""
        if self._rows is None or not self.vectors:
            return embedded
        v_d = torch.cat(list(self.vectors.values())).to(embedded.dtype)
        return torch.where((self._rows >= 0)[..., None], v_d[self._rows.clamp(min=0)], embedded)


def contains(prompt: str, token: str) -> bool:
    """Whether `token` stands in the prompt as a word of its own."""
    return len(split_at_tokens(prompt, [token.lower()])) > 1 or prompt.strip().lower() == token.lower()


def split_at_tokens(prompt: str, tokens: Iterable[str]) -> list[str]:
    """Cut the prompt into learned tokens and the text between them. A token is a whole word: patches, not patchesX."""
    either = "|".join(re.escape(token) for token in sorted(tokens, key=len, reverse=True))
    pieces = re.split(rf"(?<!\w)({either})(?!\w)", prompt, flags=re.IGNORECASE) if either else [prompt]
    return [piece for piece in pieces if piece]


def _key(token: str) -> str:
    """A token as a ParameterDict key: in lower case, as CLIP reads it, without dots, and unlike a name of nn.Module."""
    return "v_d " + token.lower().replace(".", "%2e")


def _token(key: str) -> str:
    return key.removeprefix("v_d ").replace("%2e", ".")
