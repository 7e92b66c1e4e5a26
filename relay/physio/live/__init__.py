"""Exercise sessions observed by a kit's camera: a kit is assigned, sends frames, and authorised viewers see them
live.
"""
