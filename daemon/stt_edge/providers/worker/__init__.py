"""A local engine as a process of its own: ``python -m stt_edge.providers.worker ENGINE``.

Main feeds it audio through a pipe and reads results from another; a model that is large, slow or
crashes is of no consequence to capture, and its memory is gone with it.
"""
