"""Accounts: users, their passwords, sign-ins and refresh tokens."""
