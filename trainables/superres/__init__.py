"""The Naive Bayes Super-Resolution Forest (Salvador and Perez-Pellitero, ICCV 2015)."""
