"""The embedded benchmark: procedural 32x32 pictures of coloured, textured shapes, the same on every
machine.

``sets`` names the sets and gives pictures by number; ``scene`` draws what is in a picture,
``paint`` turns that into pixels; ``captions`` and ``web`` are what the pretraining reads; ``sheet``
shows everything at a glance.
"""
