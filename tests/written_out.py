"""Programs whose loops Python writes out, by the number of steps: (function, arguments)."""

import numpy as np


def runge_kutta(n):
    """A pendulum."""

    def f(y, k):
        def slope(y):
            return np.array([y[1], -k * np.sin(y[0])])

        h, path = 0.05, []
        for _ in range(n):
            a = slope(y)
            b = slope(y + h / 2 * a)
            c = slope(y + h / 2 * b)
            d = slope(y + h * c)
            y = y + h / 6 * (a + 2 * b + 2 * c + d)
            path.append(y[0])
        return np.sum(np.array(path) ** 2)

    return f, (np.array([1.0, 0.2]), 0.7)


def gram_schmidt(n):
    """Of n columns of 3 elements each: work that grows with the square of n."""

    def f(A):
        done = []
        columns = [A[:, k] for k in range(n)]
        for k in range(n):
            q = columns[k] / np.sqrt(1 + columns[k] @ columns[k])
            done.append(q)
            for j in range(k + 1, n):
                columns[j] = columns[j] - q * (q @ columns[j])
        return np.sum(np.stack(done, axis=1)[0] ** 2)

    return f, (np.random.default_rng(0).normal(size=(3, n)),)


def symmetric_polynomials(n):
    """The first four of n numbers."""

    def f(x):
        e = [1.0, 0.0, 0.0, 0.0, 0.0]
        for i in range(n):
            for k in range(4, 0, -1):
                e[k] = e[k] + x[i] * e[k - 1]
        return e[4]

    return f, (np.random.default_rng(0).uniform(0.5, 1.5, size=n) / n,)


def leapfrog(n):
    """Three pendulums."""

    def f(q, p, w):
        h = 0.1
        for _ in range(n):
            p = p - h / 2 * w * np.sin(q)
            q = q + h * p
            p = p - h / 2 * w * np.sin(q)
        return 0.5 * np.sum(p * p) + np.sum(w * (1 - np.cos(q)))

    return f, (np.array([0.1, 0.2, 0.3]), np.zeros(3), np.array([1.0, 2.0, 3.0]))


def stencil_in_place(n):
    """Heat on a square, by z.at."""

    def f(u):
        for _ in range(n):
            inner = u[1:-1, 1:-1]
            around = u[2:, 1:-1] + u[:-2, 1:-1] + u[1:-1, 2:] + u[1:-1, :-2] - 4 * inner
            u = u.at[1:-1, 1:-1].add(0.2 * around)
        return np.sum(u**2)

    return f, (np.sin(np.arange(576.0)).reshape(24, 24),)


def stencil_joined(n):
    """Heat on a line, whose ends are joined on."""

    def f(u):
        for _ in range(n):
            inner = u[1:-1] + 0.2 * (u[2:] - 2 * u[1:-1] + u[:-2])
            u = np.concatenate([u[:1], inner, u[-1:]])
        return np.sum(u**2)

    return f, (np.sin(np.arange(64.0)),)


def stencil_padded(n):
    """Heat on a line, padded."""

    def f(u):
        for _ in range(n):
            u = u + np.pad(0.2 * (u[2:] - 2 * u[1:-1] + u[:-2]), 1)
        return np.sum(u**2)

    return f, (np.sin(np.arange(64.0)),)


def stencil_shrinking(n):
    """Heat on a line that gets shorter."""

    def f(u):
        for _ in range(n):
            u = u[1:-1] + 0.2 * (u[2:] - 2 * u[1:-1] + u[:-2])
        return np.sum(u**2)

    return f, (np.sin(np.arange(2.0 * n + 16)),)


def stencil_rolled(n):
    """Heat on a ring."""

    def f(u):
        for _ in range(n):
            u = u + 0.2 * (np.roll(u, 1) - 2 * u + np.roll(u, -1))
        return np.sum(u**2)

    return f, (np.sin(np.arange(64.0)),)


def kalman(n):
    """The likelihood of positions of what moves at a speed."""

    def f(q, r, ys):
        F, H = np.array([[1.0, 0.1], [0.0, 1.0]]), np.array([[1.0, 0.0]])
        x, P, found = np.zeros(2), np.eye(2), 0.0
        for t in range(n):
            x, P = F @ x, F @ P @ F.T + q * np.eye(2)
            S = H @ P @ H.T + r
            v = ys[t] - (H @ x)[0]
            K = (P @ H.T) / S
            x, P = x + K[:, 0] * v, P - K @ H @ P
            found = found - 0.5 * (np.log(S[0, 0]) + v * v / S[0, 0])
        return found

    return f, (0.1, 0.2, np.sin(np.arange(n) * 0.3))


def neighbours(n):
    """What n numbers of an array are to their neighbours, one by one."""

    def f(x):
        total = 0.0
        for i in range(n - 1):
            total = total + np.sin(x[i]) * x[i + 1] ** 2
        return total

    return f, (np.sin(np.arange(float(n))),)


def elements(n):
    """A band matrix times a vector, element by element."""

    def f(A, x):
        y = [A[i, 0] * x[i] + A[i, 1] * x[i + 1] for i in range(n)]
        return np.sum(np.tanh(np.array(y)) ** 2)

    return f, (np.sin(np.arange(2.0 * n)).reshape(n, 2), np.cos(np.arange(n + 1.0)))


def looked_up(n):
    """Long arithmetic, again and again, on what is looked up in a table."""
    index = np.arange(100) % 7

    def f(table):
        x = table[index]
        for _ in range(n):
            x = np.tanh(x * 1.1)
        return np.sum(x**2)

    return f, (np.sin(np.arange(7.0)),)


def layers(n):
    """Layers of a network, with matrices."""

    def f(W, x):
        for _ in range(n):
            x = np.tanh(W @ x)
        return np.sum(x)

    return f, (np.eye(16), np.sin(np.arange(128.0)).reshape(16, 8))


WRITTEN_OUT = {f.__name__: f for f in (
    runge_kutta, gram_schmidt, symmetric_polynomials, leapfrog, stencil_in_place, stencil_joined,
    stencil_padded, stencil_shrinking, stencil_rolled, kalman, neighbours, elements,
    looked_up, layers,
)}  # fmt: skip
