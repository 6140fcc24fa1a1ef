"""The language that all services speak: orders, commands, events, their envelope and their routes.

Nothing here imports anything of ours, so a participant written elsewhere needs this package alone.
"""
