"""Poses and hands from pictures, on the kit: landmarks leave it, pixels do not.

Two back ends with the same models and the same results: `litert` (this package's own steps around the bare models)
and `mediapipe` (the Tasks of MediaPipe 1.2, see tasks.py). Whoever looks at pictures runs in a process without network.
"""
