"""ADBench's hand tracking: how far the points of a depth image are from the vertices of a hand that
is posed by 26 numbers. A skeleton of 22 bones on random inputs of its shapes."""

from __future__ import annotations

import numpy as np

BONES, VERTICES, POINTS = 22, 544, 1000
# The forearm and the palm, then five fingers of four bones.
PARENTS = [-1, 0] + [1 if k == 0 else 1 + 4 * f + k for f in range(5) for k in range(4)]


def pose_places() -> tuple[np.ndarray, np.ndarray]:
    """Which of the 26 numbers each bone's three angles are, and whether they are any: the knuckle
    bends and spreads, the two joints behind it bend."""
    places, mask = np.zeros((BONES, 3), np.int64), np.zeros((BONES, 3))
    at = 6
    for finger in range(5):
        for k in range(3):
            bone = 3 + 4 * finger + k
            for axis in range(2 if k == 0 else 1):
                places[bone, axis], mask[bone, axis] = at, 1.0
                at += 1
    return places, mask


def inputs(points: int = POINTS):
    """theta, and the model: bones at rest, their inverses, vertices, weights, and the data."""
    rng = np.random.default_rng(0)
    rest = np.tile(np.eye(4), (BONES, 1, 1))
    for b in range(BONES):
        q, _ = np.linalg.qr(rng.normal(size=(3, 3)))
        rest[b, :3, :3], rest[b, :3, 3] = q * np.sign(np.linalg.det(q)), rng.normal(size=3)
    whole = []
    for b, parent in enumerate(PARENTS):
        whole.append(rest[b] if parent < 0 else whole[parent] @ rest[b])
    vertices = np.concatenate([rng.normal(size=(3, VERTICES)), np.ones((1, VERTICES))])
    weights = rng.dirichlet(np.full(BONES, 0.1), size=VERTICES).T
    seen = rng.integers(0, VERTICES, size=points)
    theta = 0.3 * rng.normal(size=26)
    return theta, (rest, np.linalg.inv(np.stack(whole)), vertices, weights, seen,
                   rng.normal(size=(3, points)))  # fmt: skip


def distances(np_, theta, model):
    """The differences between the points and their vertices, (3, points)."""
    rest, back, vertices, weights, seen, points = model
    places, mask = pose_places()
    angles = theta[places] * mask
    c, s = np_.cos(angles), np_.sin(angles)
    one, zero = np_.ones(BONES), np_.zeros(BONES)

    def matrices(*elements):
        return np_.stack(elements, -1).reshape(BONES, 3, 3)

    x = matrices(one, zero, zero, zero, c[:, 0], -s[:, 0], zero, s[:, 0], c[:, 0])
    y = matrices(c[:, 2], zero, s[:, 2], zero, one, zero, -s[:, 2], zero, c[:, 2])
    z = matrices(c[:, 1], -s[:, 1], zero, s[:, 1], c[:, 1], zero, zero, zero, one)
    turns = z @ y @ x
    # In homogeneous coordinates: rest [[R, 0], [0, 1]].
    relative = np_.concatenate([rest[:, :, :3] @ turns, rest[:, :, 3:]], -1)
    absolute: list = []
    for b, parent in enumerate(PARENTS):
        absolute.append(relative[b] if parent < 0 else absolute[parent] @ relative[b])
    skin = np_.stack(absolute) @ back
    posed = np_.einsum("bij,jv,bv->iv", skin[:, :3], vertices, weights)
    turned = rotation(np_, theta[:3]) @ posed + theta[3:6, None]
    return points - turned[:, seen]


def rotation(np_, r):
    """The matrix of a rotation vector."""
    angle = np_.sqrt(r @ r)
    x, y, z = (r / angle)[0], (r / angle)[1], (r / angle)[2]
    zero = 0.0 * x
    cross = np_.stack([zero, -z, y, z, zero, -x, -y, x, zero]).reshape(3, 3)
    return np_.eye(3) + np_.sin(angle) * cross + (1.0 - np_.cos(angle)) * (cross @ cross)
