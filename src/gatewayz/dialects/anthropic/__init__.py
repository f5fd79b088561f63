"""Anthropic Messages, both roles: the wire of Claude, and of Claude Code and its kin.

Source: platform.claude.com/docs/en/api/messages and the types of the official SDK.
"""
