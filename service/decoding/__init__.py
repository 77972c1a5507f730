"""Pictures are decoded in processes that can be killed, because nothing else stops a library that reads hostile bytes.

`pool.DecodePool` is all that others use, with `job.Job` and the errors of `errors.py`. The pool runs on an event loop
and starts one process, the zygote (`zygote.py`, its parent's side is `zygote_link.py`): a fresh interpreter that has
imported what decoding needs, and forks workers (`worker.py`). A worker gives up its rights (`sandbox.py`), sets its
limits (`limits.py`), and decodes one picture after another; body and pixels pass through shared memory (`memory.py`).
"""
