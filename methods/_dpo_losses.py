"""The losses of `dpo` by name: the loss of each pair, from summed log-probabilities of its two answers.

In all of them w is the chosen answer, l the rejected one, h = log p - log p_start of an answer, |y| its tokens with the
end of turn, z = beta (h_w - h_l), e = `label_smoothing`, and s the logistic function:

    sigmoid       -(1 - e) log s(z) - e log s(-z)                            Rafailov et al. 2023, 2305.18290, eq. 7
    ipo           (h_w - h_l - 1 / (2 beta))^2                               Azar et al. 2023, 2310.12036, eq. 17
    robust        (-(1 - e) log s(z) + e log s(-z)) / (1 - 2 e)              Chowdhury et al. 2024, 2403.00409
    sigmoid_norm  -log s(beta (h_w / |w| - h_l / |l|))                       Lambert et al. 2024, 2411.15124 (Tulu 3)
    apo_zero      1 - s(beta h_w) + s(beta h_l)                              D'Oosterlinck et al. 2024, 2408.06266
    apo_down      s(beta h_w) + 1 - s(z)                                     the same
    simpo         -log s(beta (log p_w / |w| - log p_l / |l|) - gamma)       Meng et al. 2024, 2405.14734, eq. 6
    orpo          -log p_w / |w| - beta log s(o_w - o_l),                    Hong et al. 2024, 2403.07691, eq. 6 and 7
                  o = log(P / (1 - P)),  P = exp(log p / |y|)

TRL has the same losses, except that it averages ipo over tokens, does not smooth sigmoid, and trains orpo on the prompt
too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from harness.lazy import torch


@dataclass(frozen=True)
class PairLoss:
    """A loss of preference pairs.

    of         (settings, log p (2B,), log p of the start (2B,), tokens (2B,)) -> losses (B,); chosen answers come first
    uses       those of the optional fields that it reads
    ranges     the search ranges that it gives to fields, where they are not those of sigmoid
    least_beta below it beta belongs to another loss
    reference  whether it reads the log-probabilities of the start
    """

    of: Callable[[Any, torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]
    uses: frozenset[str] = frozenset({"nll"})
    ranges: tuple[tuple[str, tuple[float, float]], ...] = ()
    least_beta: float = 0.0
    reference: bool = True


def _margin(own: torch.Tensor, start: torch.Tensor) -> torch.Tensor:
    chosen, rejected = (own - start).chunk(2)
    return chosen - rejected


def _sigmoid(settings: Any, own: torch.Tensor, start: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    log_sigmoid, smoothing = torch.nn.functional.logsigmoid, settings.label_smoothing
    scaled = settings.beta * _margin(own, start)
    return -(1 - smoothing) * log_sigmoid(scaled) - smoothing * log_sigmoid(-scaled)


def _robust(settings: Any, own: torch.Tensor, start: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    log_sigmoid, smoothing = torch.nn.functional.logsigmoid, settings.label_smoothing
    scaled = settings.beta * _margin(own, start)
    return (-(1 - smoothing) * log_sigmoid(scaled) + smoothing * log_sigmoid(-scaled)) / (1 - 2 * smoothing)


def _ipo(settings: Any, own: torch.Tensor, start: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    squared: torch.Tensor = (_margin(own, start) - 1 / (2 * settings.beta)) ** 2
    return squared


def _sigmoid_norm(settings: Any, own: torch.Tensor, start: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    return -torch.nn.functional.logsigmoid(settings.beta * _margin(own / tokens, start / tokens))


def _apo_zero(settings: Any, own: torch.Tensor, start: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    chosen, rejected = (settings.beta * (own - start)).chunk(2)
    return 1 - chosen.sigmoid() + rejected.sigmoid()


def _apo_down(settings: Any, own: torch.Tensor, start: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    chosen, rejected = (settings.beta * (own - start)).chunk(2)
    return chosen.sigmoid() + 1 - (chosen - rejected).sigmoid()


def _simpo(settings: Any, own: torch.Tensor, start: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    chosen, rejected = (settings.beta * own / tokens).chunk(2)
    gamma = settings.beta / 2 if settings.gamma is None else settings.gamma
    return -torch.nn.functional.logsigmoid(chosen - rejected - gamma)


def _orpo(settings: Any, own: torch.Tensor, start: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    mean = own / tokens
    odds = mean - torch.log(-torch.expm1(mean.clamp(max=-CERTAIN)))
    (chosen, _), (likelier, other) = mean.chunk(2), odds.chunk(2)
    return -chosen - settings.beta * torch.nn.functional.logsigmoid(likelier - other)


CERTAIN = 1e-6  # the odds of an answer with a mean log-probability above -CERTAIN would not be finite

# SimPO's authors tune beta from 2 to 10 and gamma from 0.3 to beta / 2, ORPO's its weight from 0.1 to 1, and Tulu 3
# uses beta 5 with means over tokens
LOSSES = {
    "sigmoid": PairLoss(_sigmoid, uses=frozenset({"nll", "label_smoothing"})),
    "ipo": PairLoss(_ipo),
    "robust": PairLoss(_robust, uses=frozenset({"nll", "label_smoothing"}), ranges=(("label_smoothing", (0.05, 0.3)),)),
    "sigmoid_norm": PairLoss(_sigmoid_norm, ranges=(("beta", (1.0, 10.0)),), least_beta=1.0),
    "apo_zero": PairLoss(_apo_zero, ranges=(("beta", (0.01, 1.0)),)),
    "apo_down": PairLoss(_apo_down, ranges=(("beta", (0.01, 1.0)),)),
    "simpo": PairLoss(
        _simpo,
        uses=frozenset({"nll", "gamma"}),
        ranges=(("beta", (2.0, 10.0)), ("gamma", (0.3, 5.0))),
        least_beta=1.0,
        reference=False,
    ),
    "orpo": PairLoss(_orpo, uses=frozenset(), ranges=(("beta", (0.1, 1.0)),), reference=False),
}


def pair_losses(settings: Any, own: torch.Tensor, start: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    """The loss (B,) of pairs, given summed log-probabilities (2B,) of chosen, then rejected answers.

    tokens  how many tokens (2B,) each sum is over
    """
    losses = LOSSES[settings.loss].of(settings, own, start, tokens)
    if settings.nll:
        losses = losses - settings.nll * (own / tokens).chunk(2)[0]
    return losses
