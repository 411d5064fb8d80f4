"""Derivatives written by hand for Numba, as an expert would: what graphad has to be faster than."""

from __future__ import annotations

import math

import numba
import numpy as np

from bench.hand import PARENTS, pose_places


@numba.njit(fastmath=True)
def _gmm_terms(alphas, means, icf, x, ga, gm, gi):
    """The sum of log-sum-exps over the points; adds its gradient. Columns of L one by one."""
    n, d = x.shape
    k = len(alphas)
    scale, total = np.empty((k, d)), np.zeros(k)
    for j in range(k):
        for i in range(d):
            scale[j, i] = math.exp(icf[j, i])
            total[j] += icf[j, i]
    centred, turned = np.empty((k, d)), np.empty((k, d))
    inner, back = np.empty(k), np.empty(d)
    out = 0.0
    for p in range(n):
        for j in range(k):
            c, t = centred[j], turned[j]
            for i in range(d):
                c[i] = x[p, i] - means[j, i]
                t[i] = scale[j, i] * c[i]
            at = d
            for i in range(d):
                ci = c[i]
                for r in range(d - 1 - i):
                    t[i + 1 + r] += icf[j, at + r] * ci
                at += d - 1 - i
            size = 0.0
            for i in range(d):
                size += t[i] * t[i]
            inner[j] = alphas[j] + total[j] - 0.5 * size
        top = inner.max()
        weight = 0.0
        for j in range(k):
            inner[j] = math.exp(inner[j] - top)
            weight += inner[j]
        out += math.log(weight) + top
        for j in range(k):
            w = inner[j] / weight
            c, t = centred[j], turned[j]
            ga[j] += w
            for i in range(d):
                back[i] = -w * t[i]
                gi[j, i] += w + back[i] * scale[j, i] * c[i]
            at = d
            for i in range(d):
                ci, pulled = c[i], scale[j, i] * back[i]
                for r in range(d - 1 - i):
                    gi[j, at + r] += back[i + 1 + r] * ci
                    pulled += icf[j, at + r] * back[i + 1 + r]
                gm[j, i] -= pulled
                at += d - 1 - i
    return out


@numba.njit(fastmath=True)
def gmm(alphas, means, icf, x):
    """Value and gradients of `adbench.gmm`."""
    n, d = x.shape
    k = len(alphas)
    ga, gm, gi = np.zeros(k), np.zeros((k, d)), np.zeros(icf.shape)
    out = _gmm_terms(alphas, means, icf, x, ga, gm, gi) - n * d * 0.5 * math.log(2 * math.pi)
    top = alphas.max()
    weight = np.exp(alphas - top).sum()
    out -= n * (math.log(weight) + top)
    for j in range(k):
        ga[j] -= n * math.exp(alphas[j] - top) / weight
        for i in range(icf.shape[1]):
            v = icf[j, i]
            if i < d:
                out += 0.5 * math.exp(2 * v) - v
                gi[j, i] += math.exp(2 * v) - 1.0
            else:
                out += 0.5 * v * v
                gi[j, i] += v
    return out, ga, gm, gi


@numba.njit(fastmath=True)
def bundle(cameras, points, weights, features):
    """Jacobians of `adbench.residual` in the camera, the point and the weight. That of a rotation
    in its vector: G. Gallego and A. Yezzi, A compact formula for the derivative of a 3-D rotation
    in exponential coordinates (2015), (8)."""
    n = len(weights)
    dc, dp, dw = np.zeros((n, 2, 11)), np.empty((n, 2, 3)), np.empty((n, 2))
    turn, du, dx = np.empty((3, 3)), np.empty((2, 3)), np.empty((3, 3))
    for p in range(n):
        a, b, c = cameras[p, 0], cameras[p, 1], cameras[p, 2]
        square = a * a + b * b + c * c
        angle = math.sqrt(square)
        s, h = math.sin(angle) / angle, (1.0 - math.cos(angle)) / square
        cosine = math.cos(angle)
        turn[0, 0], turn[1, 1] = cosine + h * a * a, cosine + h * b * b
        turn[2, 2] = cosine + h * c * c
        turn[0, 1], turn[1, 0] = h * a * b - s * c, h * a * b + s * c
        turn[0, 2], turn[2, 0] = h * a * c + s * b, h * a * c - s * b
        turn[1, 2], turn[2, 1] = h * b * c - s * a, h * b * c + s * a
        v0, v1 = points[p, 0] - cameras[p, 3], points[p, 1] - cameras[p, 4]
        v2 = points[p, 2] - cameras[p, 5]
        x = turn[0, 0] * v0 + turn[0, 1] * v1 + turn[0, 2] * v2
        y = turn[1, 0] * v0 + turn[1, 1] * v1 + turn[1, 2] * v2
        z = turn[2, 0] * v0 + turn[2, 1] * v1 + turn[2, 2] * v2
        u, v = x / z, y / z
        r2 = u * u + v * v
        k1, k2 = cameras[p, 9], cameras[p, 10]
        bend = 1.0 + k1 * r2 + k2 * r2 * r2
        slope = 2.0 * (k1 + 2.0 * k2 * r2)
        w, f = weights[p], cameras[p, 6]
        # d(bent)/d(u, v), times d(u, v)/d(x, y, z)
        uu, uv, vv = bend + slope * u * u, slope * u * v, bend + slope * v * v
        g = w * f / z
        du[0, 0], du[0, 1], du[0, 2] = g * uu, g * uv, -g * (uu * u + uv * v)
        du[1, 0], du[1, 1], du[1, 2] = g * uv, g * vv, -g * (uv * u + vv * v)
        # R [v]x (r r^T + (R^T - 1) [r]x) / angle^2
        m = ((a * a, a * b, a * c), (b * a, b * b, b * c), (c * a, c * b, c * c))
        for j in range(3):
            e0 = m[0][j]
            e1 = m[1][j]
            e2 = m[2][j]
            if j == 0:
                q0, q1, q2 = 0.0, c, -b
            elif j == 1:
                q0, q1, q2 = -c, 0.0, a
            else:
                q0, q1, q2 = b, -a, 0.0
            e0 += turn[0, 0] * q0 + turn[1, 0] * q1 + turn[2, 0] * q2 - q0
            e1 += turn[0, 1] * q0 + turn[1, 1] * q1 + turn[2, 1] * q2 - q1
            e2 += turn[0, 2] * q0 + turn[1, 2] * q1 + turn[2, 2] * q2 - q2
            t0, t1, t2 = v1 * e2 - v2 * e1, v2 * e0 - v0 * e2, v0 * e1 - v1 * e0
            for i in range(3):
                dx[i, j] = -(turn[i, 0] * t0 + turn[i, 1] * t1 + turn[i, 2] * t2) / square
        for i in range(2):
            flat = u if i == 0 else v
            for j in range(3):
                dc[p, i, j] = du[i, 0] * dx[0, j] + du[i, 1] * dx[1, j] + du[i, 2] * dx[2, j]
                moved = du[i, 0] * turn[0, j] + du[i, 1] * turn[1, j] + du[i, 2] * turn[2, j]
                dp[p, i, j] = moved
                dc[p, i, 3 + j] = -moved
            dc[p, i, 6] = w * bend * flat
            dc[p, i, 7 + i] = w
            dc[p, i, 9] = w * f * flat * r2
            dc[p, i, 10] = w * f * flat * r2 * r2
            dw[p, i] = f * bend * flat + cameras[p, 7 + i] - features[p, i]
    return dc, dp, dw


@numba.njit(fastmath=True)
def _hand(theta, rest, back, vertices, weights, parents, places, mask):
    bones, many = weights.shape
    relative, absolute = np.zeros((bones, 4, 4)), np.zeros((bones, 4, 4))
    d_absolute, d_relative = np.zeros((26, bones, 4, 4)), np.zeros((26, bones, 4, 4))
    one, moved = np.zeros((3, 4, 4)), np.zeros((3, 4, 4))
    for b in range(bones):
        for axis in range(3):
            t = theta[places[b, axis]] * mask[b, axis]
            c, s = math.cos(t), math.sin(t)
            i, j = (1, 2) if axis == 0 else ((0, 1) if axis == 1 else (2, 0))
            one[axis], moved[axis] = np.eye(4), 0.0
            one[axis, i, i], one[axis, j, j], one[axis, i, j], one[axis, j, i] = c, c, -s, s
            moved[axis, i, i], moved[axis, j, j] = -s, -s
            moved[axis, i, j], moved[axis, j, i] = -c, c
        relative[b] = rest[b] @ (one[1] @ one[2] @ one[0])
        if mask[b, 0] != 0.0:
            d_relative[places[b, 0], b] = rest[b] @ (one[1] @ one[2] @ moved[0])
        if mask[b, 1] != 0.0:
            d_relative[places[b, 1], b] = rest[b] @ (moved[1] @ one[2] @ one[0])
        parent = parents[b]
        absolute[b] = relative[b] if parent < 0 else absolute[parent] @ relative[b]
        if parent >= 0:
            for k in range(6, 26):
                d_absolute[k, b] = d_absolute[k, parent] @ relative[b]
            for axis in range(2):
                if mask[b, axis] != 0.0:
                    k = places[b, axis]
                    d_absolute[k, b] += absolute[parent] @ d_relative[k, b]
    posed, d_posed = np.zeros((3, many)), np.zeros((26, 3, many))
    for b in range(bones):
        skin = absolute[b] @ back[b]
        _add_skin(skin, vertices, weights[b], posed)
        for k in range(6, 26):
            d = d_absolute[k, b] @ back[b]
            if d.any():
                _add_skin(d, vertices, weights[b], d_posed[k])
    return posed, d_posed


@numba.njit(fastmath=True)
def _add_skin(skin, vertices, weight, to):
    for i in range(3):
        for v in range(to.shape[1]):
            to[i, v] += weight[v] * (skin[i, 0] * vertices[0, v] + skin[i, 1] * vertices[1, v]
                                     + skin[i, 2] * vertices[2, v] + skin[i, 3])  # fmt: skip


@numba.njit(fastmath=True)
def _hand_jacobian(theta, rest, back, vertices, weights, seen, points, parents, places, mask):
    posed, d_posed = _hand(theta, rest, back, vertices, weights, parents, places, mask)
    count, many = len(seen), posed.shape[1]
    r = theta[:3]
    square = (r * r).sum()
    angle = math.sqrt(square)
    cross = np.array([[0.0, -r[2], r[1]], [r[2], 0.0, -r[0]], [-r[1], r[0], 0.0]])
    turn = (np.eye(3) + math.sin(angle) / angle * cross
            + (1.0 - math.cos(angle)) / square * (cross @ cross))  # fmt: skip
    out, whole = np.empty((3, count, 26)), np.empty((26, 3, many))
    inner = (np.outer(r, r) + (turn.T - np.eye(3)) @ cross) / square
    for k in range(3):
        e = np.ascontiguousarray(inner[:, k])
        ex = np.array([[0.0, -e[2], e[1]], [e[2], 0.0, -e[0]], [-e[1], e[0], 0.0]])
        whole[k] = (turn @ ex) @ posed  # -R [v]x e = R [e]x v
    for k in range(3, 6):
        whole[k] = 0.0
        whole[k, k - 3] = 1.0
    for k in range(6, 26):
        whole[k] = turn @ d_posed[k]
    for i in range(3):
        for p in range(count):
            for k in range(26):
                out[i, p, k] = -whole[k, i, seen[p]]
    return out


def hand(theta, model):
    """The Jacobian of `hand.distances`, (3, points, 26)."""
    places, mask = pose_places()
    return _hand_jacobian(theta, *model, np.array(PARENTS), places, mask)
