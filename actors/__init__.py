"""The actor system: processes, sockets, messages, the launcher and the scheduler. Imports none of its users."""
