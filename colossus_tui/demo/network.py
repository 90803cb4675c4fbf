"""A small character model: embeddings of the last characters, one hidden layer, softmax; Adam."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from colossus_tui.demo.corpus import ALPHABET_SIZE

Array = npt.NDArray[np.float64]
Symbols = npt.NDArray[np.uint8]
EMBEDDING = 8
BETAS = (0.9, 0.999)


class Network:
    """Parameters and Adam's moments, one flat vector each: they are saved and summed whole.

    All arithmetic is in float64 and in a fixed order: the same state and data give the same bits.
    """

    def __init__(self, context: int, hidden: int, seed: int) -> None:
        self._context, self._hidden = context, hidden
        wide = context * EMBEDDING
        self._shapes = (
            (ALPHABET_SIZE, EMBEDDING),
            (wide, hidden),
            (hidden,),
            (hidden, ALPHABET_SIZE),
            (ALPHABET_SIZE,),
        )
        rng = np.random.default_rng(seed)
        parts = [
            rng.normal(0.0, 1.0 / np.sqrt(shape[0]) if len(shape) == 2 else 0.0, shape).ravel()
            for shape in self._shapes
        ]
        self.parameters: Array = np.concatenate(parts)
        self.moment: Array = np.zeros_like(self.parameters)
        self.square: Array = np.zeros_like(self.parameters)

    @property
    def parameters_count(self) -> int:
        """Number of parameters."""
        return int(self.parameters.size)

    def _views(self, flat: Array) -> list[Array]:
        views, start = [], 0
        for shape in self._shapes:
            size = int(np.prod(shape))
            views.append(flat[start : start + size].reshape(shape))
            start += size
        return views

    def loss_and_gradient(self, inputs: Symbols, targets: Symbols) -> tuple[float, Array]:
        """Return the mean cross-entropy in nats and its gradient.

        Args:
            inputs: Symbols [batch, context].
            targets: Symbols [batch].
        """
        embedding, weights, bias, out_weights, out_bias = self._views(self.parameters)
        batch = len(targets)
        seen = embedding[inputs].reshape(batch, -1)
        hidden = np.tanh(seen @ weights + bias)
        logits = hidden @ out_weights + out_bias
        logits -= logits.max(axis=1, keepdims=True)
        odds = np.exp(logits)
        odds /= odds.sum(axis=1, keepdims=True)
        rows = np.arange(batch)
        loss = float(-np.log(odds[rows, targets] + 1e-300).mean())
        odds[rows, targets] -= 1.0
        odds /= batch
        gradient = np.zeros_like(self.parameters)
        d_embedding, d_weights, d_bias, d_out_weights, d_out_bias = self._views(gradient)
        d_out_weights[:] = hidden.T @ odds
        d_out_bias[:] = odds.sum(axis=0)
        d_hidden = (odds @ out_weights.T) * (1.0 - hidden * hidden)
        d_weights[:] = seen.T @ d_hidden
        d_bias[:] = d_hidden.sum(axis=0)
        d_seen = (d_hidden @ weights.T).reshape(batch, self._context, EMBEDDING)
        np.add.at(d_embedding, inputs, d_seen)
        return loss, gradient

    def update(self, gradient: Array, step: int, rate: float) -> None:
        """Take one step of Adam (Kingma and Ba 2015)."""
        first, second = BETAS
        self.moment *= first
        self.moment += (1.0 - first) * gradient
        self.square *= second
        self.square += (1.0 - second) * gradient * gradient
        corrected = self.moment / (1.0 - first**step)
        scale = np.sqrt(self.square / (1.0 - second**step)) + 1e-8
        self.parameters -= rate * corrected / scale
