"""Looking inside a trained network: six ways of the lectures, and what belongs beside them.

    filters                   the weights of a convolution as pictures
    activations               what a layer makes of one picture
    features, neighbours      a data set in the space of a layer; which pictures are near each other there
    embed                     that space in two dimensions: t-SNE, PCA
    occlusion                 a mask slides over the picture
    strongest                 the pictures and patches that a unit answers to; receptive_field says what it sees

    saliency, smooth_grad, integrated_gradients, guided_backprop, grad_cam      which pixels speak for a class
    maximise                  a picture made for a unit
    answers                   confusion matrix, surest mistakes
    Histograms                weights and gradients over training
    report                    one page with all of it

Each returns NumPy arrays, which draw themselves when asked: `.figure()`, `.save("x.png")` (matplotlib, extra `viz`). The model
is in eval mode for as long, and left as it was. Layers are named by their paths, see `layers`.

>>> import tensorgrad
>>> from tensorgrad import inspect, nn
>>> net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3))
>>> [layer.name for layer in inspect.layers(net, tensorgrad.zeros(1, 8, 8))]
['0', '1', '2', '3', '']
"""

from tensorgrad.inspect.activations import Activations, activations
from tensorgrad.inspect.drawing import MissingLibrary, Result
from tensorgrad.inspect.embedding import Embedding, embed
from tensorgrad.inspect.features import Features, Neighbours, features, neighbours
from tensorgrad.inspect.field import Box, receptive_field
from tensorgrad.inspect.filters import Filters, filters
from tensorgrad.inspect.gradcam import GradCAM, grad_cam
from tensorgrad.inspect.gradients import (
    Attribution,
    guided,
    guided_backprop,
    integrated_gradients,
    saliency,
    smooth_grad,
)
from tensorgrad.inspect.histograms import Histograms
from tensorgrad.inspect.layers import Layer, layers
from tensorgrad.inspect.maximise import Maximised, maximise
from tensorgrad.inspect.mistakes import Answers, Confusion, Mistakes, answers
from tensorgrad.inspect.occlusion import Occlusion, occlusion
from tensorgrad.inspect.report import report
from tensorgrad.inspect.running import UntrainedWarning
from tensorgrad.inspect.strongest import Strongest, strongest

__all__ = [
    "Activations",
    "Answers",
    "Attribution",
    "Box",
    "Confusion",
    "Embedding",
    "Features",
    "Filters",
    "GradCAM",
    "Histograms",
    "Layer",
    "Maximised",
    "MissingLibrary",
    "Mistakes",
    "Neighbours",
    "Occlusion",
    "Result",
    "Strongest",
    "UntrainedWarning",
    "activations",
    "answers",
    "embed",
    "features",
    "filters",
    "grad_cam",
    "guided",
    "guided_backprop",
    "integrated_gradients",
    "layers",
    "maximise",
    "neighbours",
    "occlusion",
    "receptive_field",
    "report",
    "saliency",
    "smooth_grad",
    "strongest",
]
