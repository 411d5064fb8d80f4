"""Normalizing flows: densities, samplers and their training, compiled from NumPy code.

>>> import numpy as np, graphad as ga
>>> flow = ga.flows.RealNVP(event_shape=(2,), transforms=2, key=ga.random.key(0))
>>> flow.log_prob(np.zeros((5, 2))).shape
(5,)
"""

from graphad.flows.bijector import Bijector
from graphad.flows.bijectors.act_norm import ActNorm
from graphad.flows.bijectors.affine import Affine
from graphad.flows.bijectors.affine_coupling import AffineCoupling
from graphad.flows.bijectors.autoregressive import MaskedAutoregressive
from graphad.flows.bijectors.chain import Chain
from graphad.flows.bijectors.conditional import Conditional
from graphad.flows.bijectors.conv1x1 import Conv1x1
from graphad.flows.bijectors.elementwise import Elementwise
from graphad.flows.bijectors.from_forward import FromForward
from graphad.flows.bijectors.householder import Householder
from graphad.flows.bijectors.invert import Invert
from graphad.flows.bijectors.lu_linear import LULinear
from graphad.flows.bijectors.partial import Partial
from graphad.flows.bijectors.permute import Permute
from graphad.flows.bijectors.planar import Planar
from graphad.flows.bijectors.radial import Radial
from graphad.flows.bijectors.reshape import Reshape
from graphad.flows.bijectors.spline_coupling import SplineCoupling
from graphad.flows.bijectors.squeeze import Squeeze
from graphad.flows.conditioner import MLP, ConvNet, Function, MaskedMLP
from graphad.flows.distribution import Distribution
from graphad.flows.models import IAF, MAF, NSF, Glow, RealNVP
from graphad.flows.normal import (
    MultivariateNormalDiag,
    MultivariateNormalTril,
    Normal,
    StandardNormal,
)
from graphad.flows.storage import FlowFileError, load, save
from graphad.flows.training import History, TrainingStopped
from graphad.flows.transformed import Independent, Mixture, TransformedDistribution
from graphad.flows.univariate import Logistic, StudentT, Uniform

__all__ = [
    "IAF",
    "MAF",
    "MLP",
    "NSF",
    "ActNorm",
    "Affine",
    "AffineCoupling",
    "Bijector",
    "Chain",
    "Conditional",
    "Conv1x1",
    "ConvNet",
    "Distribution",
    "Elementwise",
    "FlowFileError",
    "FromForward",
    "Function",
    "Glow",
    "History",
    "Householder",
    "Independent",
    "Invert",
    "LULinear",
    "Logistic",
    "MaskedAutoregressive",
    "MaskedMLP",
    "Mixture",
    "MultivariateNormalDiag",
    "MultivariateNormalTril",
    "Normal",
    "Partial",
    "Permute",
    "Planar",
    "Radial",
    "RealNVP",
    "Reshape",
    "SplineCoupling",
    "Squeeze",
    "StandardNormal",
    "StudentT",
    "TrainingStopped",
    "TransformedDistribution",
    "Uniform",
    "load",
    "save",
]  # fmt: skip


def __dir__() -> list[str]:
    return sorted({*__all__, *(n for n in globals() if n.startswith("__"))})
