"""`f.interpret`: values as the compiled function's, and the line where a nan or inf is made."""

import numpy as np
import pytest

import graphad as ga


def step(c, _):
    c = c - 1.0
    return np.sqrt(c), c


def walk(c, _):
    d, _ = ga.scan(step, c, np.zeros(2))
    return d, np.log(d)


def said(f, *args, capsys):
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(f.interpret(*args), f(*args))
    return capsys.readouterr().out


def test_a_line_within_a_loop_and_the_step(capsys):
    text = said(ga.function(lambda x: ga.scan(step, x, np.zeros(5))[0]), 2.0, capsys=capsys)
    assert "first nan" in text and "return np.sqrt(c), c" in text
    assert "in step 2 of the loop at" in text


def test_loops_within_loops(capsys):
    f = ga.function(lambda x: ga.scan(walk, x, np.zeros(5))[0])
    text = said(f, 9.0, capsys=capsys)
    inner, outer = text.index("in step 1 of the loop"), text.rindex("in step 1 of the loop")
    assert "return np.sqrt(c), c" in text and inner < outer
    text = said(ga.vmap(f), np.array([9.0, 1.0]), capsys=capsys)
    assert "return np.sqrt(c), c" in text and "in step 0 of the loop" in text


@pytest.mark.parametrize(
    "f",
    [
        lambda x: ga.cond(x > 0, lambda: np.log(x - 1), lambda: x),
        lambda x: ga.while_loop(lambda c: c > 0, lambda c: np.log(c - 1), x),
        lambda x: ga.fori_loop(0, 2, lambda i, c: np.log(c - 1), x),
        ga.checkpoint(lambda x: np.log(x - 1)),
    ],
)
def test_lines_in_other_bodies(f, capsys):
    text = said(ga.function(f), 1.0, capsys=capsys)
    assert "first inf" in text and "np.log(" in text


def test_finite_values_are_said_to_be(capsys):
    assert "every value is finite" in said(ga.function(lambda x: x * 2), 1.0, capsys=capsys)


def test_errors_tell_the_step():
    def subtract(a, r):
        return np.linalg.inv(a - r), None

    f = ga.function(lambda x: ga.scan(subtract, x, np.arange(3.0)[:, None, None] * np.eye(2))[0])
    with pytest.raises(np.linalg.LinAlgError) as caught:
        f.interpret(np.eye(2))
    (note,) = caught.value.__notes__
    assert "solve" in note and "in step 1 of the loop" in note and __file__ in note
