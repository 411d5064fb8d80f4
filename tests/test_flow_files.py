"""Files of flows: what is saved comes back, and what is broken is an error that says so."""

import json
import tempfile

import numpy as np
import pytest
from flow_files_soak import put_together, soak, taken_apart

import graphad as ga
from graphad import flows

KEY = ga.random.key(11)
RNG = np.random.default_rng(0)


def bend(v):
    return v + 0.5 * np.tanh(v)


def everything():
    """A flow with a part of every kind that files must know."""
    parts = [
        flows.AffineCoupling((4,), key=KEY, hidden=(8,), activation="silu"),
        flows.SplineCoupling((4,), key=KEY, hidden=(8,), activation=np.sin, mask="alternating"),
        flows.LULinear((4,), key=KEY),
        flows.Householder(2, (4,), key=KEY),
        flows.MaskedAutoregressive((4,), key=KEY, hidden=(8,)),
        flows.Permute([2, 0, 3, 1]),
        flows.Planar((4,), key=KEY),
        flows.Radial((4,), key=KEY),
        flows.Elementwise(np.sinh),
        flows.Reshape((4,), (2, 2)),
        flows.Invert(flows.ActNorm((2, 2))),
    ]
    base = flows.Mixture(np.zeros(2), flows.MultivariateNormalDiag(np.zeros((2, 4)), np.ones(4)))
    return flows.TransformedDistribution(base, flows.Chain(parts))


def test_files_give_the_same_flow(tmp_path):
    flow, x = everything(), RNG.normal(size=(6, 2, 2))
    flow.save(tmp_path / "flow.npz")
    again = flows.load(tmp_path / "flow.npz")
    np.testing.assert_array_equal(again.log_prob(x), flow.log_prob(x))
    assert list(again.params) == list(flow.params)
    np.testing.assert_array_equal(again.sample(KEY, (3,)), flow.sample(KEY, (3,)))
    with np.load(tmp_path / "flow.npz", allow_pickle=False) as held:
        assert json.loads(held["description"].tobytes())["version"] == 2
    assert [p.name for p in tmp_path.iterdir()] == ["flow.npz"]


def test_functions_of_ones_own_are_named_on_both_sides(tmp_path):
    flow = flows.TransformedDistribution(flows.StandardNormal(()), flows.Elementwise(bend))
    with pytest.raises(flows.FlowFileError, match="functions="):
        flow.save(tmp_path / "flow")
    assert not list(tmp_path.iterdir())
    flow.save(tmp_path / "flow", functions={"bend": bend})
    with pytest.raises(flows.FlowFileError, match="bend"):
        flows.load(tmp_path / "flow")
    again = flows.load(tmp_path / "flow", functions={"bend": bend})
    assert again.log_prob(0.4) == flow.log_prob(0.4)


def good_files() -> dict[str, bytes]:
    """Bytes of files with every part, small enough to be broken often."""
    import sympy as sp

    x = sp.Symbol("x", real=True)
    normal = flows.TransformedDistribution
    made = {
        "everything": everything(),
        "expression": flows.Elementwise(sp.exp(x) + 2 * x),
        "forward": flows.FromForward(np.sinh, (3,)),
        "given": flows.RealNVP((2,), transforms=2, hidden=(3,), key=KEY, context=2),
        "image": flows.Glow((4, 4, 1), transforms=1, hidden=2, key=KEY, levels=1),
        "tied": normal(flows.StandardNormal((1,)), flows.Chain([shared(), flows.Elementwise(
            np.sinh), shared()])),
        "numbers": normal(flows.StudentT(3.0, np.zeros(2)), flows.Affine(np.zeros(2), np.ones(2))),
    }  # fmt: skip
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, flow in made.items():
            flows.save(flow, f"{folder}/{name}.npz")
            with open(f"{folder}/{name}.npz", "rb") as file:
                found[name] = file.read()
    return found


SHARED = flows.Affine(np.zeros(1), np.ones(1))


def shared():
    return SHARED


def test_broken_files_are_errors_and_run_nothing():
    counts = soak(good_files(), 400)
    assert sum(n for n, _ in counts.values()) == 400


def test_changed_files_are_errors(tmp_path):
    flow = flows.RealNVP((2,), transforms=2, hidden=(8,), key=KEY)
    path = tmp_path / "flow.npz"
    flow.save(path)
    whole = path.read_bytes()
    with np.load(path) as held:
        arrays = dict(held)
    for name in ("a0", "description"):
        changed = {**arrays, name: arrays[name].copy()}
        changed[name].flat[0] += 1
        np.savez(tmp_path / "changed.npz", **changed)
        with pytest.raises(flows.FlowFileError, match="changed since"):
            flows.load(tmp_path / "changed.npz")
    for wrong in (whole[: len(whole) // 2], b"", b"nothing at all"):
        path.write_bytes(wrong)
        with pytest.raises(flows.FlowFileError, match="no flow") as error:
            flows.load(path)
        assert str(path) in str(error.value) and isinstance(error.value, ValueError)
    with pytest.raises(FileNotFoundError):
        flows.load(tmp_path / "missing.npz")


def test_other_versions_and_code_are_refused(tmp_path):
    def loaded(tree, version=2):
        whole = {"format": "graphad flow", "version": version, "flow": tree}
        (tmp_path / "f.npz").write_bytes(put_together(whole, []))
        return flows.load(tmp_path / "f.npz")

    chain = {"part": "Chain", "fields": {}}
    for version in (1, 99, "2", None):
        with pytest.raises(flows.FlowFileError, match="version"):
            loaded(chain, version)
    for name in ("os:system", "builtins:eval", "subprocess:run", "numpyevil:x", "numpy:load",
                 "numpy.f2py:compile", "graphad.flows.storage:load", "scipy.special:__file__"):  # fmt: skip
        with pytest.raises(flows.FlowFileError, match="is not there"):
            loaded({"function": name})
    with pytest.raises(flows.FlowFileError, match="the fields"):
        loaded(chain)
    with pytest.raises(flows.FlowFileError, match="no part 'Evil'"):
        loaded({"part": "Evil", "fields": {}})


def test_fields_that_do_not_fit_are_named(tmp_path):
    flows.Normal(np.zeros(2), np.ones(2)).save(tmp_path / "f.npz")
    tree, arrays = taken_apart((tmp_path / "f.npz").read_bytes())
    for changed, text in ((dict(loc="text"), "the field 'loc' of a Normal"), (dict(loc=None), "the "
                          "field 'loc'"), (dict(more=1), "not loc, more, scale")):  # fmt: skip
        other = {
            **tree,
            "flow": {"part": "Normal", "fields": {**tree["flow"]["fields"], **changed}},
        }
        (tmp_path / "f.npz").write_bytes(put_together(other, arrays))
        with pytest.raises(flows.FlowFileError, match=text):
            flows.load(tmp_path / "f.npz")
    (tmp_path / "f.npz").write_bytes(put_together(tree, [np.zeros(2), np.ones(3)]))
    with pytest.raises(flows.FlowFileError, match="do not fit"):
        flows.load(tmp_path / "f.npz")


def test_expressions_are_the_functions_that_sympy_means():
    import sympy as sp

    from graphad.flows.expression import Expression, of_sympy

    x = sp.Symbol("x", real=True)
    at = np.linspace(0.1, 0.9, 7)
    for e in (x, -x / 3, x**3 - 2 / x, sp.sqrt(x) + x ** sp.Rational(-3, 2), 2**x + sp.pi * sp.E**x,
              sp.Abs(x - sp.Rational(1, 2)), sp.Max(x, 1 - x, 0.3), sp.atanh(x) * sp.erf(x) / 7,
              sp.Piecewise((x**2, x < 0.5), (sp.log(x), True)), 1 / (1 + sp.exp(-x))):  # fmt: skip
        want = [float(e.subs(x, sp.Float(v, 30))) for v in at]
        np.testing.assert_allclose(Expression(of_sympy(e, x))(at), want, rtol=1e-14)
        single = Expression(of_sympy(e, x))(at.astype("f4"))
        assert single.dtype == np.float32
    for e in (sp.gamma(x), sp.floor(x), sp.oo * sp.exp(x)):
        with pytest.raises(ValueError, match="is not known"):
            of_sympy(e, x)
