"""An answer that grows: tokens to text, stop strings, and why it ends."""

from __future__ import annotations

from dataclasses import dataclass

from tessera.inference.engine.model import LoadedModel
from tessera.inference.engine.sampling import Sampled
from tessera.inference.engine.sequence import FinishReason, Request, Sequence
from tessera.inference.engine.stop import StopMatcher


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
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

    def then(self, later: Output) -> Output:
        """This part and the next one as one."""
        return Output(
            text=self.text + later.text,
            tokens=self.tokens + later.tokens,
            logprobs=self.logprobs + later.logprobs,
            finish=later.finish,
            version=later.version,
            prompt_tokens=later.prompt_tokens,
        )


class Answer:
    """Takes a sequence's tokens one by one.

    Args:
        sequence: it grows.
        request: what was asked for.
        model: that answers.
    """

    def __init__(self, sequence: Sequence, request: Request, model: LoadedModel) -> None:
        self.sequence = sequence
        self._logprobs = request.logprobs
        self._end_id = model.end_id
        self._stop = StopMatcher(request.stop)
        self._decoder = model.tokenizer.decoder() if model.tokenizer else None
        # A model may have more rows than its tokenizer has ids; they stand for no text.
        self._known = model.tokenizer.vocab_size if model.tokenizer else 0

    def accept(self, sampled: Sampled) -> Output:
        """Append a token.

        Returns:
            The part of the answer that it completes.
        """
        self.sequence.tokens.append(sampled.token)
        text = self._text(sampled.token)
        finish = self._finish(sampled.token)
        if finish in (FinishReason.END, FinishReason.LENGTH):
            text += self._rest()
            # The last bytes may have completed a stop string.
            finish = FinishReason.STOP if self._stop.stopped else finish
        return Output(
            text=text,
            tokens=(sampled.token,),
            logprobs=(sampled.logprob,) if self._logprobs else (),
            finish=finish,
            version=self.sequence.version,
            prompt_tokens=self.sequence.prompt_length,
        )

    def _text(self, token: int) -> str:
        if self._decoder is None or token >= self._known:
            return ""
        return self._stop.push(self._decoder.push(token))

    def _rest(self) -> str:
        if self._decoder is None:
            return ""
        return self._stop.push(self._decoder.finish()) + self._stop.finish()

    def _finish(self, token: int) -> FinishReason | None:
        if self._stop.stopped:
            return FinishReason.STOP
        if token == self._end_id:
            return FinishReason.END
        return FinishReason.LENGTH if self.sequence.full else None
