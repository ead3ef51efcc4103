"""Training of any network: batches, cached features, the loop; shared by train-cam and train-seg.

What is learned stays outside: a network brings its optimiser, a criterion gives a batch's loss.
"""
