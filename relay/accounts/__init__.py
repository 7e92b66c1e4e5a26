"""Accounts: people who sign in, their passwords, sign-ins and refresh tokens."""
