"""tau(y): the CLIP tokenizer and text encoder (transformers), with learned vectors v_d at a token's place."""
import re

import torch
from torch import nn

from .files import UserError


class TextEncoder(nn.Module):
    """Prompts to contexts.

    A token such as `<unknown>` is any piece of the prompt, usually several of CLIP's own tokens. Once vectors v_d
    (n, C) are set for it, they stand in for its embeddings wherever it occurs (eq. 3). They live beside the
    embedding table, which never changes.
    """

    def __init__(self, tokenizer, model):
        super().__init__()
        self.tokenizer = tokenizer
        self.model = model
        self.vectors = nn.ParameterDict()  # token -> v_d (n, C); keys as _key writes them
        self.length = min(tokenizer.model_max_length, model.config.max_position_embeddings)
        self._slots = None  # (B, length): which learned vector each position takes, -1 for none
        model.get_input_embeddings().register_forward_hook(self._substitute)

    def ids(self, text):
        """The token numbers of a piece of text, without start and end."""
        return self.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]

    def pretrained_vectors(self, token):
        """The rows (n, C) of the embedding table that `token` stands for before any learning."""
        table = self.model.get_input_embeddings().weight
        return table[torch.tensor(self.ids(token), device=table.device)].detach().clone()

    def set_vectors(self, token, vectors):
        """Put v_d (n, C) in the place of `token` from now on. Returns the Parameter."""
        table = self.model.get_input_embeddings().weight
        if vectors.ndim != 2 or vectors.shape[1] != table.shape[1]:
            raise UserError(f"The embedding of {token} has shape {tuple(vectors.shape)}, but this text encoder takes "
                            f"(n, {table.shape[1]}): use it with the weights it was trained on.")
        parameter = nn.Parameter(vectors.to(table.device, table.dtype).contiguous())
        self.vectors[_key(token)] = parameter
        return parameter

    def encode(self, prompts):
        """prompts, B strings -> (B, length, C): the last hidden layer after the final norm, padding included."""
        ids, slots = zip(*(self._tokenize(prompt) for prompt in prompts))
        device = self.model.get_input_embeddings().weight.device
        self._slots = torch.tensor(slots, device=device)
        try:
            return self.model(input_ids=torch.tensor(ids, device=device)).last_hidden_state
        finally:
            self._slots = None

    def _tokenize(self, prompt):
        """start, the prompt cut to length - 2, end, end .. end: (ids, slots), both of `length` integers."""
        first = {}  # token -> its first row among all learned vectors
        rows = 0
        for key, v in self.vectors.items():
            first[_token(key)] = rows
            rows += len(v)
        ids, slots = [], []
        for piece in _split(prompt, first):
            if piece.lower() in first:
                n = len(self.vectors[_key(piece)])
                slots += range(first[piece.lower()], first[piece.lower()] + n)
                ids += [self.tokenizer.eos_token_id] * n
            else:
                piece_ids = self.ids(piece)
                slots += [-1] * len(piece_ids)
                ids += piece_ids
        room = self.length - 2
        if any(slot >= 0 for slot in slots[room:]):
            raise UserError(f"The prompt {prompt!r} has {len(ids)} tokens, of which this text encoder reads {room}, and the "
                            "learned one comes later: shorten the prompt, or say the learned token earlier.")
        end = self.length - 1 - len(ids[:room])
        ids = [self.tokenizer.bos_token_id] + ids[:room] + [self.tokenizer.eos_token_id] * end
        return ids, [-1] + slots[:room] + [-1] * end

    def _substitute(self, module, inputs, embedded):
        """After the table look-up: learned vectors at their positions. embedded (B, length, C)."""
        if self._slots is None or not self.vectors:
            return embedded
        rows = torch.cat(list(self.vectors.values())).to(embedded.dtype)
        return torch.where((self._slots >= 0)[..., None], rows[self._slots.clamp(min=0)], embedded)


def contains(prompt, token):
    """Whether `token` stands in the prompt as a word of its own."""
    return len(_split(prompt, [token.lower()])) > 1 or prompt.strip().lower() == token.lower()


def _split(prompt, tokens):
    """The prompt cut into learned tokens and the text between them. Letters must not touch: patches, not patchesX."""
    if not tokens:
        return [prompt]
    either = "|".join(re.escape(token) for token in sorted(tokens, key=len, reverse=True))
    pieces = re.split(rf"(?<!\w)({either})(?!\w)", prompt, flags=re.IGNORECASE)
    return [piece for piece in pieces if piece]


def _key(token):
    """A token as a ParameterDict key: CLIP ignores case; names must hold no dot and not be a module's own, as type is."""
    return "v_d " + token.lower().replace(".", "%2e")


def _token(key):
    return key.removeprefix("v_d ").replace("%2e", ".")
