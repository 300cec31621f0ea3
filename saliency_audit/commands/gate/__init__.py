"""``gate``: may this model be released?"""
