"""A learning rate that a function computes for each step."""

from ..plumbing.backend import keras


class Schedule(keras.optimizers.schedules.LearningRateSchedule):
    """The learning rate of a step, from step 0 on, is `function(step, **arguments)`.
    Introduced in notebook 02.
    """

    def __init__(self, function, **arguments):
        self.function, self.arguments = function, arguments

    def __call__(self, step):
        return self.function(step, **self.arguments)

    def get_config(self):
        return self.arguments
