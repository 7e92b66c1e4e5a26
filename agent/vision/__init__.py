"""Poses and hands from pictures, on the kit: landmarks leave it, pixels do not.

Two back ends with the same models and results: `litert` (our own processing around the bare models) and `mediapipe`
(the Tasks of MediaPipe 1.2, see tasks.py). Pictures are analysed in a process without network access.
"""
