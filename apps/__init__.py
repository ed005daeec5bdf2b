"""Programs that use `lab`: expressions of faces in photos, videos and live, and a data
base of your own.
"""
