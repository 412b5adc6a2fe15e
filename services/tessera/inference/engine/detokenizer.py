"""An answer that grows: tokens to text, stop strings, and why it ends."""

from __future__ import annotations

from dataclasses import dataclass

from tessera.inference.engine.loaded_model import LoadedModel
from tessera.inference.engine.sequence import FinishReason, Request
from tessera.inference.engine.stop import StopMatcher


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputDelta:
    """A part of an answer.

    Args:
        text: the next text; empty while a character or a possible stop string is incomplete.
        tokens: every token that the model wrote, also one that ends the text or a stop string.
        logprobs: of `tokens`, if they were asked for.
        finish: why it ended; None: it goes on.
        version: of the weights.
        prompt_tokens: tokens of the prompt.
    """

    text: str
    tokens: tuple[int, ...]
    logprobs: tuple[float, ...]
    finish: FinishReason | None
    version: int
    prompt_tokens: int

    def then(self, later: OutputDelta) -> OutputDelta:
        """This part and the next one as one."""
        return OutputDelta(
            text=self.text + later.text,
            tokens=self.tokens + later.tokens,
            logprobs=self.logprobs + later.logprobs,
            finish=later.finish,
            version=later.version,
            prompt_tokens=later.prompt_tokens,
        )


class Detokenizer:
    """Takes the tokens of one continuation one by one.

    Args:
        request: what was asked for.
        model: that answers.
        limit: tokens at which it ends.
    """

    def __init__(self, request: Request, model: LoadedModel, limit: int) -> None:
        self.ended = False
        self.written = 0
        self._limit = limit
        self._request = request
        self._version = model.version
        self._end_ids = model.end_ids
        self._stop = StopMatcher(request.stop)
        self._decoder = model.decoder(continues=not request.source)

    def accept(self, token: int, logprob: float) -> OutputDelta:
        """Append a token.

        Returns:
            The part of the answer that it completes.
        """
        self.written += 1
        # A token that ends a text says nothing, whatever else it may mean in one.
        text = "" if token in self._end_ids else self._text(token)
        finish = self._finish(token)
        if finish in (FinishReason.END, FinishReason.LENGTH):
            text += self._rest()
            # The last bytes may have completed a stop string.
            finish = FinishReason.STOP if self._stop.stopped else finish
        self.ended = finish is not None
        return OutputDelta(
            text=text,
            tokens=(token,),
            logprobs=(logprob,) if self._request.logprobs else (),
            finish=finish,
            version=self._version,
            prompt_tokens=len(self._request.source or self._request.prompt),
        )

    def _text(self, token: int) -> str:
        if self._decoder is None:
            return ""
        return self._stop.push(self._decoder.push(token))

    def _rest(self) -> str:
        if self._decoder is None:
            return ""
        return self._stop.push(self._decoder.finish()) + self._stop.finish()

    def _finish(self, token: int) -> FinishReason | None:
        if self._stop.stopped:
            return FinishReason.STOP
        if token in self._end_ids:
            return FinishReason.END
        return FinishReason.LENGTH if self.written >= self._limit else None
