"""The main job: train a classifier on real data, and look inside what was compiled."""

from __future__ import annotations

import time

import numpy as np

import graphad as ga


def run(epochs: int = 60) -> int:
    """Run every part; the exit status."""
    try:
        import matplotlib  # noqa: F401
        from rich.console import Console
        from sklearn.datasets import load_digits
    except ImportError as missing:
        print(f"the demo needs scikit-learn, rich and matplotlib ({missing}): "
              "pip install 'graphad[demo]'")  # fmt: skip
        return 1
    console = Console(highlight=False)
    console.rule("1. A classifier for scikit-learn's digits")
    accuracy = train(console, load_digits(), epochs)
    console.rule("2. Several outputs: every derivative of a two-input, two-output network")
    four_derivatives(console)
    console.rule("3. Backpropagation in parts")
    in_parts(console)
    console.rule("4. One of many functions by weight")
    lazily(console)
    console.rule("5. A normalizing flow: densities and draws of images of digits")
    bits = flow_of_digits(console, load_digits(), steps=50 * epochs)
    console.rule("6. A bijector from its forward expression alone")
    from_forward(console)
    console.rule("7. Inside: the graph, the source and the memory plan")
    inside(console)
    if accuracy < 0.95 or bits > 3.0:
        console.print(f"test accuracy {accuracy:.1%}, {bits:.2f} bits per dimension: expected at "
                      "least 95 % and at most 3.0")  # fmt: skip
        return 1
    return 0


def log_softmax(z):
    """Logits to log-probabilities, row by row."""
    z = z - z.max(axis=1, keepdims=True)
    return z - np.log(np.exp(z).sum(axis=1, keepdims=True))


def loss(params, x, labels):
    """Mean cross-entropy of a two-layer network."""
    hidden = np.tanh(x @ params["W1"] + params["b1"])
    logp = log_softmax(hidden @ params["W2"] + params["b2"])
    return -(logp * labels).sum() / x.shape[0]


def train(console, digits, epochs: int) -> float:
    """Adam on minibatches; the accuracy on held-out digits."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    rng = np.random.default_rng(0)
    order = rng.permutation(len(digits.target))
    x = digits.data[order] / 16.0
    y = np.eye(10)[digits.target[order]]
    train_x, test_x, train_y, test_y = x[:1437], x[1437:], y[:1437], y[1437:]
    params = {
        "W1": rng.normal(size=(64, 64)) / 8, "b1": np.zeros(64),
        "W2": rng.normal(size=(64, 10)) / 8, "b2": np.zeros(10),
    }  # fmt: skip
    optimiser = ga.optim.adam(3e-3)

    @ga.function
    def step(params, state, x, labels):
        value, grads = ga.value_and_grad(loss)(params, x, labels)
        params, state = optimiser.update(grads, state, params)
        return value, params, state

    state = optimiser.init(params)
    start = time.perf_counter()
    value, *_ = step(params, state, train_x[:96], train_y[:96])
    console.print(f"compiled value, gradient and Adam in {time.perf_counter() - start:.2f} s")
    batches = len(train_x) // 96
    start = time.perf_counter()
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("training", total=epochs)
        for _ in range(epochs):
            shuffled = rng.permutation(len(train_x))
            for b in range(batches):
                rows = shuffled[b * 96 : (b + 1) * 96]
                value, params, state = step(params, state, train_x[rows], train_y[rows])
            progress.update(task, advance=1, description=f"loss {float(value):.4f}")
    seconds = time.perf_counter() - start
    hidden = np.tanh(test_x @ params["W1"] + params["b1"])
    right = (hidden @ params["W2"] + params["b2"]).argmax(1) == test_y.argmax(1)
    console.print(
        f"{epochs * batches} steps in {seconds:.2f} s ({seconds / (epochs * batches) * 1e6:.0f} µs "
        f"each); test accuracy {right.mean():.1%}"
    )
    return float(right.mean())


def net(x, y):
    """Two inputs, two outputs, one hidden layer."""
    weights = np.linspace(-1.0, 1.0, 8)
    h = np.tanh(weights * x + weights[::-1] * y**2)
    return (h * weights).sum(), (h**2).sum() * x


def four_derivatives(console) -> None:
    """df1/dx, df1/dy, df2/dx, df2/dy beside central differences."""
    x, y, e = 0.7, -0.4, 1e-6
    jacobian = ga.jacobian(net, wrt=(0, 1))(x, y)
    for i in range(2):
        for j, name in enumerate("xy"):
            moved = (e, 0.0) if j == 0 else (0.0, e)
            up = net(x + moved[0], y + moved[1])[i]
            down = net(x - moved[0], y - moved[1])[i]
            console.print(
                f"df{i + 1}/d{name} = {jacobian[i][j]:+.12f}   "
                f"central difference {(up - down) / (2 * e):+.12f}"
            )


def tagged(W, x, b):
    """A layer with its pre-activation named."""
    h = ga.tag(W @ x + b, "h")
    return (np.tanh(h) ** 2).sum()


def in_parts(console) -> None:
    """dloss/dh, the Jacobian of h, and their contraction against the whole gradient."""
    rng = np.random.default_rng(1)
    W, x, b = rng.normal(size=(4, 3)), rng.normal(size=3), rng.normal(size=4)
    head, tail = ga.cut(tagged, at="h")
    h = head(W, x, b)
    upper = ga.grad(tail, wrt="h")(W, x, b, h)
    lower = ga.jacobian(head, wrt="W")(W, x, b)
    whole = ga.grad(tagged, wrt="W")(W, x, b)
    joined = np.einsum("i,ijk->jk", upper, lower)
    console.print(f"dloss/dh has shape {upper.shape}, dh/dW has shape {lower.shape}")
    console.print(
        f"contracted, they differ from the whole gradient by {abs(joined - whole).max():.1e}"
    )


def lazily(console) -> None:
    """A weighted choice among 20 expensive functions: what it costs beside the drawn one alone."""
    x = np.linspace(0.0, 1.0, 50_000)
    logits = np.concatenate([[-np.inf], np.log(np.arange(1.0, 20.0))])

    def option(k):
        return lambda x: np.tanh(np.sin(x * (1.0 + k))).sum()

    options = [option(k) for k in range(20)]
    lazy = ga.function(lambda key, x: ga.random.select(key, logits, options, operands=(x,)))
    key = ga.random.key(0)
    drawn = int(ga.random.categorical(key, logits))
    alone = ga.function(options[drawn])
    assert lazy(key, x) == alone(x)
    times = [best_of(lambda f=f, a=a: f(*a)) for f, a in ((lazy, (key, x)), (alone, (x,)))]
    console.print(f"function {drawn} of 20 was drawn: {times[0] * 1e6:.0f} µs, and alone "
                  f"{times[1] * 1e6:.0f} µs")  # fmt: skip
    counts = np.bincount(ga.random.categorical(key, logits, 100_000), minlength=20)
    console.print(f"of 100 000 draws {counts[0]} are of the first, whose weight is 0, and "
                  f"{counts[-1]} of the last (expected 10 000)")  # fmt: skip


def flow_of_digits(console, digits, steps: int, path: str = "digits.png") -> float:
    """Train a RealNVP on 8 x 8 images, given their class; bits per dimension of held-out ones."""
    rng = np.random.default_rng(0)
    order = rng.permutation(len(digits.target))
    images, labels = digits.images[order], np.eye(10, dtype="f4")[digits.target[order]]
    train, check, test = slice(0, 1293), slice(1293, 1437), slice(1437, None)

    def noisy(images, copies):
        """Grey levels 0 ... 16 as continuous values of deviation near 1, with fresh noise."""
        whole = np.repeat(images, copies, axis=0)
        return ((whole + rng.uniform(size=whole.shape)) / SCALE - 8.5 / SCALE).astype("f4")

    flow = ga.flows.RealNVP(
        (8, 8), transforms=10, hidden=(128, 128), activation="tanh", mask="checkerboard",
        context=10, dtype="float32", key=ga.random.key(0),
    )  # fmt: skip
    console.print(f"one image has the event shape {flow.event_shape}; its log_prob has the shape "
                  f"{flow.log_prob(np.zeros((8, 8), 'f4'), context=labels[0]).shape}")  # fmt: skip
    start = time.perf_counter()
    flow, history = flow.fit(
        noisy(images[train], 16), context=np.repeat(labels[train], 16, axis=0),
        key=ga.random.key(1), steps=steps, batch_size=256, learning_rate=1e-3,
        validation=(noisy(images[check], 4), np.repeat(labels[check], 4, axis=0)),
    )  # fmt: skip
    taken = len(history.loss)
    held_out = flow.log_prob(noisy(images[test], 1), context=labels[test]).mean()
    bits = -(held_out / 64 - np.log(SCALE)) / np.log(2.0)
    if history.stopped:
        console.print(f"ended at step {taken}: {history.stopped}")
    console.print(f"{taken} steps in {time.perf_counter() - start:.1f} s; {bits:.2f} bits per "
                  "dimension on held-out images (17 grey levels, uniform: 4.09)")  # fmt: skip
    draws = flow.sample(ga.random.key(2), (100,), context=np.repeat(np.eye(10, dtype="f4"), 10, 0))
    save_sheet((draws + 8.5 / SCALE) * SCALE, path)
    console.print(f"a sheet of draws, a row for each digit: {path}")
    return float(bits)


SCALE = 6.0  # grey levels to a deviation near 1


def save_sheet(images, path: str) -> None:
    """100 images in ten rows, as a PNG file."""
    import matplotlib.image

    rows = np.pad(np.clip(images, 0, 16).reshape(10, 10, 8, 8), [(0, 0)] * 2 + [(1, 1)] * 2)
    sheet = rows.transpose(0, 2, 1, 3).reshape(100, 100)
    matplotlib.image.imsave(path, np.kron(sheet, np.ones((5, 5))), cmap="gray")


def from_forward(console) -> None:
    """What is derived from a function of one number, and from a map of vectors."""
    bend = ga.flows.Elementwise(lambda v: v + 0.5 * np.tanh(v))
    console.print(bend.explain())
    console.print(f"inverse(forward(0.7)) = {float(bend.inverse(bend.forward(0.7))):.15f}")

    def moved(x):
        before = np.concatenate([np.zeros(1), np.cumsum(x)[:-1]])
        return x * np.exp(0.5 * np.tanh(before)) + before

    vector = ga.flows.FromForward(moved, (6,))
    x = np.linspace(-1.0, 1.0, 6)
    dense = np.linalg.slogdet(ga.jacobian(moved)(x))[1]
    _, log_det = vector.forward_and_log_det(x)
    console.print(vector.explain())
    console.print(f"log-det {float(log_det):.12f}, by slogdet of the Jacobian {dense:.12f}")


def best_of(call, repeats: int = 50) -> float:
    """Seconds of the fastest of some calls."""
    call()
    found = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        found.append(time.perf_counter() - start)
    return min(found)


def inside(console) -> None:
    """One small gradient at every stage."""
    from rich.text import Text

    def energy(x, w):
        return (np.tanh(x @ w) ** 2).sum()

    stages = ga.grad(energy, wrt="w").lower(ga.spec("500 64"), ga.spec("64 32"))
    for title, stage in (("graph", stages.graph), ("program", stages.program),
                         ("source", stages.source), ("memory", stages.memory)):  # fmt: skip
        lines = str(stage).splitlines()
        shown = lines[:14] + ([f"... {len(lines) - 14} more lines"] if len(lines) > 14 else [])
        console.print(Text(f"-- {title}\n" + "\n".join(shown)))
