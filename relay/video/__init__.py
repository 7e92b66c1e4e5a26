"""The kits' cameras shown to many browsers over WebRTC: encoded once, forwarded packet by packet, never decoded
here.
"""
