"""Sample times, the 10 ms grid, heartbeats, and how far each can be trusted.

Pure mathematics: times are arguments; nothing here reads a clock, a file or a socket.
"""
