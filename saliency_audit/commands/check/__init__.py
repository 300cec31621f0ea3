"""``check``: what was loaded, what was assumed, and what will work?"""
