"""One TFLite model through LiteRT on the CPU: a picture in, its tensors out, with as few copies as possible."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from agent.sources.slot import Image
from agent.vision.threads import quickest

Floats = NDArray[np.float32]


class Network:
    """`size`: side of the square input in pixels. `low` and `high`: the input values for black and white.

    `threads` 0 measures how many are fastest here.
    """

    def __init__(self, model: bytes, threads: int, *, low: float = 0.0, high: float = 1.0) -> None:
        self._interpreter: Any = Interpreter(model_content=model, num_threads=threads or quickest(model))
        self._interpreter.allocate_tensors()
        given = self._interpreter.get_input_details()[0]
        self._input = int(given["index"])
        self.size = int(given["shape"][1])
        self._outputs = [int(one["index"]) for one in self._interpreter.get_output_details()]
        self._gain, self._offset = np.float32((high - low) / 255), np.float32(low)
        self._rgb: Image = np.empty((self.size, self.size, 3), np.uint8)

    def compute(self, crop_bgr: Image) -> None:
        """Run the model on a picture of `size` by `size`; then read the results with `output`."""
        cv2.cvtColor(crop_bgr, cv2.COLOR_BGR2RGB, dst=self._rgb)
        tensor = self._interpreter.tensor(self._input)()[0]
        np.multiply(self._rgb, self._gain, out=tensor)
        if self._offset:
            np.add(tensor, self._offset, out=tensor)
        del tensor  # LiteRT does not compute while its memory is borrowed
        self._interpreter.invoke()

    def output(self, number: int) -> Floats:
        """A copy of an output tensor, without its batch axis."""
        tensor: Floats = self._interpreter.get_tensor(self._outputs[number])[0]
        return tensor

    def gather(self, number: int, index: tuple[Any, ...]) -> Floats:
        """Elements of an output tensor by index arrays, without copying the whole tensor."""
        found: Floats = self._interpreter.tensor(self._outputs[number])()[0][index]
        return found
