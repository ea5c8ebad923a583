"""The compiled core: numba only, whole numbers only, no allocation inside a loop.

Import the submodules late (inside the function that needs them): importing one loads numba.
"""
