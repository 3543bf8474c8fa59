"""A trained network in one file, and its architecture as text.

A file is a zip archive, as numpy's ``.npz``: the architecture and the structure of the parameters
as JSON in ``jaxrnn.json``, and an array of numpy's for each parameter. `numpy.load` and
`jaxrnn.interop.read` see the arrays, ``unzip -p model.npz jaxrnn.json`` the rest. What is loaded is
data: nothing is unpickled, no name in it is looked up but those of this library's constructors,
and those check what they are given.

>>> import jax, jaxrnn, pathlib, tempfile
>>> from jaxrnn import serving
>>> net = jaxrnn.rnn(jaxrnn.lstm, 2, dropout=0.1)
>>> params = net.init(jax.random.key(0), 3, 5)
>>> with tempfile.TemporaryDirectory() as folder:
...     serving.save(pathlib.Path(folder) / "model.npz", net, params)
...     saved = serving.load(pathlib.Path(folder) / "model.npz")
>>> saved.net == net, saved.params[1].bias.shape
(True, (20,))
"""

from jaxrnn.serving.architecture import from_json, to_json
from jaxrnn.serving.files import Saved, load, save

__all__ = ["Saved", "from_json", "load", "save", "to_json"]
