"""A step recorded once as its operations on arrays, and replayed: `tensorgrad.compile`.

reach.py     what the step can see, and whether it has changed
recorded.py  arrays that write down what is done with them
program.py   the list of operations
writer.py    the Python function made of it
recording.py one run, recorded and replayed
step.py      when to record, when to replay, when to leave a step as it is
"""

from tensorgrad.replay.step import Compiled, compile

__all__ = ["Compiled", "compile"]
