"""The names of the story: data sets and networks, in its order."""

DATA_SETS = ("fashion_mnist", "cifar10", "fer2013")
MODEL_TITLES = {
    "dense": "Dense",
    "one_conv": "One convolution",
    "two_conv": "Two convolutions",
    "improved": "Improved CNN",
}
BASE = "study-base"  # the variant of a study's point that changes nothing
