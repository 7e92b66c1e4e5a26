"""Fingerspelling: pictures to letters (port 8001), letters to sentences (8002), recorded videos (8000); on every port
also below the prefix /signs.
"""
