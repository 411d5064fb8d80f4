"""Mechanics and robotics: a Lagrangian, gravity, a robot arm, bundle adjustment, Kepler."""

import numpy as np

_rng = np.random.default_rng(3)


def double_pendulum(q, v):
    """Lagrangian of the planar double pendulum, unit masses and lengths."""
    kinetic = v[0] ** 2 + 0.5 * v[1] ** 2 + v[0] * v[1] * np.cos(q[0] - q[1])
    return kinetic + 9.81 * (2.0 * np.cos(q[0]) + np.cos(q[1]))


def n_body(x):
    """Potential energy of softened point masses."""
    d = x[:, None, :] - x[None, :, :]
    r = np.sqrt(np.sum(d**2, axis=-1) + 0.01)
    return -np.sum(np.triu(1.0 / r, 1))


def arm(angles, lengths):
    """Position and heading of the tip of a planar arm."""
    heading = np.cumsum(angles)
    return np.array(
        [np.sum(lengths * np.cos(heading)), np.sum(lengths * np.sin(heading)), heading[-1]]
    )


def rotate(r, x):
    """Rodrigues' formula: x turned by the rotation vector r."""
    angle = np.linalg.norm(r)
    axis = r / angle
    c, s = np.cos(angle), np.sin(angle)
    return c * x + s * np.cross(axis, x) + (1.0 - c) * np.dot(axis, x) * axis


def reprojection(camera, point):
    """Bundle adjustment: rotation, centre, focal length, principal point, radial distortion."""
    p = rotate(camera[:3], point - camera[3:6])
    plane = p[:2] / p[2]
    r2 = plane @ plane
    return camera[6] * (1.0 + camera[9] * r2 + camera[10] * r2**2) * plane + camera[7:9]


def kepler(eccentricity, mean_anomaly):
    """Eccentric anomaly by five Newton steps."""
    e = mean_anomaly
    for _ in range(5):
        e = e - (e - eccentricity * np.sin(e) - mean_anomaly) / (1.0 - eccentricity * np.cos(e))
    return e


_camera = np.concatenate([[0.3, -0.2, 0.5], [0.1, 0.2, -4.0], [500.0, 320.0, 240.0, 0.01, -0.002]])
PROGRAMS = [
    (
        "double_pendulum",
        double_pendulum,
        (np.array([0.4, -0.9]), np.array([1.0, 0.3])),
        (0, 1),
        True,
    ),
    ("n_body", n_body, (_rng.normal(size=(5, 3)),), 0, False),
    ("arm", arm, (np.array([0.3, -0.5, 0.8]), np.array([1.0, 0.7, 0.4])), (0, 1), False),
    ("reprojection", reprojection, (_camera, np.array([0.2, -0.3, 1.5])), (0, 1), False),
    ("kepler", kepler, (0.3, 1.2), (0, 1), True),
]
